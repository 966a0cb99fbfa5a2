// linalg/solve-left: x ← L⁻ᵀ·x in place; from the last row back y_i = x_i / L[i,i], then x_r −= L[i,r]·y_i for r < i.
// Dims: l [n, n] with n ≤ 128, lower triangle read; x [n, m]. A workgroup takes 32 columns of x, 8 lanes a column.
// Bindings: 1 l f32 view, absent with L_IN_X; 2 x f32 view.
// Accumulation: f32 in workgroup memory (16 KiB).
//#flag L_IN_X: l is a view of the tensor of x
//#include common/index.wgsl
struct Params {
  n: u32,
  m: u32,
  l_offset: u32,
  l_stride: u32,
  x_offset: u32,
  x_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if !L_IN_X
@group(0) @binding(1) var<storage, read> l: array<f32>;
//#endif
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

fn l_at(row: u32, col: u32) -> f32 {
  let index = params.l_offset + row * params.l_stride + col;
  //#if L_IN_X
  return x[index];
  //#else
  return l[index];
  //#endif
}

// [row][column of the 32]
var<workgroup> tile: array<f32, 4096>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = flat_group(group, groups) * 32u;
  if (first >= params.m) { return; }
  let within = lane % 32u;
  let part = lane / 32u;
  let col = first + within;
  let inside = col < params.m;
  for (var i = part; i < params.n; i += 8u) {
    if (inside) { tile[i * 32u + within] = x[params.x_offset + i * params.x_stride + col]; }
  }
  for (var step = 0u; step < params.n; step++) {
    workgroupBarrier();
    let i = params.n - 1u - step;
    // Every lane of a column divides anew: cheaper than one more barrier.
    let y = tile[i * 32u + within] / l_at(i, i);
    if (part == 0u && inside) { x[params.x_offset + i * params.x_stride + col] = y; }
    for (var r = part; r < i; r += 8u) { tile[r * 32u + within] -= l_at(i, r) * y; }
  }
}
