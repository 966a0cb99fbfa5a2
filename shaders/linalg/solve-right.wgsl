// linalg/solve-right: x ← x·(Lᵀ)⁻¹ in place; from the first column on y_i = x_i / L[i,i], then x_r −= y_i·L[r,i], r > i.
// Dims: l [n, n] with n ≤ 128, lower triangle read; x [m, n]. A workgroup takes 32 rows of x, 8 lanes a row.
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

var<workgroup> tile: array<f32, 4096>;

// [row of the 32][column], columns rotated by the row against bank conflicts.
fn slot(row: u32, col: u32) -> u32 {
  return row * 128u + ((col + 8u * row) & 127u);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = flat_group(group, groups) * 32u;
  if (first >= params.m) { return; }
  // Lanes along a row, so that storage is read in runs.
  for (var e = lane; e < 32u * params.n; e += 256u) {
    let row = e / params.n;
    let col = e % params.n;
    if (first + row < params.m) {
      tile[slot(row, col)] = x[params.x_offset + (first + row) * params.x_stride + col];
    }
  }
  let within = lane / 8u;
  let part = lane % 8u;
  let line = params.x_offset + (first + within) * params.x_stride;
  let inside = first + within < params.m;
  for (var i = 0u; i < params.n; i++) {
    workgroupBarrier();
    // Every lane of a row divides anew: cheaper than one more barrier.
    let y = tile[slot(within, i)] / l_at(i, i);
    if (part == 0u && inside) { x[line + i] = y; }
    for (var r = i + 1u + part; r < params.n; r += 8u) { tile[slot(within, r)] -= y * l_at(r, i); }
  }
}
