// nn/add-to: x ← x + y.
// Dims: n token rows, D columns.
// Bindings: 1 x f32 view [n, D]; 2 y f32 view [n, D], absent with ONE_TENSOR.
//#flag ONE_TENSOR: x and y are views of one tensor
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  y_offset: u32,
  y_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
//#if !ONE_TENSOR
@group(0) @binding(2) var<storage, read> y: array<f32>;
//#endif

fn addend(index: u32) -> f32 {
  //#if ONE_TENSOR
  return x[index];
  //#else
  return y[index];
  //#endif
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  if (index >= params.rows * params.cols) { return; }
  let row = index / params.cols;
  let col = index % params.cols;
  x[params.x_offset + row * params.x_stride + col] += addend(params.y_offset + row * params.y_stride + col);
}
