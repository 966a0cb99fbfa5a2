// linalg/scale-lines: x ← x times the factor of its row or of its column, element by element.
// Dims: x [rows, cols].
// Bindings: 1 x f32 view · 2 factors f32, [rows] where by_row, else [cols].
//#include common/index.wgsl
struct Params {
  rows: u32,
  cols: u32,
  offset: u32,
  stride: u32,
  by_row: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups) * 256u + lane;
  let row = index / params.cols;
  let col = index % params.cols;
  if (row >= params.rows) { return; }
  x[params.offset + row * params.stride + col] *= factors[select(col, row, params.by_row == 1u)];
}
