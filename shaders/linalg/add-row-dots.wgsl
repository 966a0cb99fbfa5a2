// linalg/add-row-dots: to[i] ← to[i] + Σ_j x[i,j]·y[i,j], one workgroup a row.
// Dims: x, y [rows, cols]; to [rows].
// Bindings: 1 x f32 view; 2 y f32 view, may be the same tensor; 3 to f32.
// Accumulation: f32, cols/256 terms a lane, then a tree.
//#if SUBGROUPS
enable subgroups;
//#endif
//#include common/index.wgsl
//#include common/reduce.wgsl
struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  y_offset: u32,
  y_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> to: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_group(group, groups);
  if (row >= params.rows) { return; }
  let p = params.x_offset + row * params.x_stride;
  let q = params.y_offset + row * params.y_stride;
  var sum = 0.0;
  for (var j = lane; j < params.cols; j += 256u) { sum += x[p + j] * y[q + j]; }
  let total = reduce_sum(sum, lane);
  if (lane == 0u) { to[row] += total; }
}
