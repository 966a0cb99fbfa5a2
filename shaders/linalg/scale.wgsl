// linalg/scale: x ← x·factor, element by element, only the triangle's elements where one is chosen.
// Dims: x [rows, cols].
// Bindings: 1 x f32 view.
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  offset: u32,
  stride: u32,
  triangle: u32,
  row_offset: i32,
  factor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
//#include common/triangle.wgsl

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  let row = index / params.cols;
  let col = index % params.cols;
  if (row >= params.rows || !in_triangle(row, col)) { return; }
  x[params.offset + row * params.stride + col] *= params.factor;
}
