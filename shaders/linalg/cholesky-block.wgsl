// linalg/cholesky-block: factors a symmetric block in place, H = Lᵀ·L with L lower triangular, from the last row back:
// L[j,j] = sqrt(H[j,j] − Σ_{i>j} L[i,j]²), L[j,k] = (H[j,k] − Σ_{i>j} L[i,j]·L[i,k]) / L[j,j] for k < j.
// Dims: n ≤ 128.
// Bindings: 1 h f32 view [n, n], lower triangle read and written; 2 failures u32 [1], bad pivots are added.
// Precondition: one workgroup. Accumulation: f32, two partial sums of at most 64 terms.
struct Params {
  n: u32,
  offset: u32,
  stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> failures: array<u32>;

const MAX_N = 128u;
// Column j of the rows below j, and the second half's partial sums of row j.
var<workgroup> column: array<f32, MAX_N>;
var<workgroup> partial: array<f32, MAX_N>;
var<workgroup> root: f32;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  let k = lane % MAX_N;
  let half = lane / MAX_N;
  for (var step = 0u; step < params.n; step++) {
    let j = params.n - 1u - step;
    if (half == 0u && k > j && k < params.n) { column[k] = h[params.offset + k * params.stride + j]; }
    workgroupBarrier();
    var sum = 0.0;
    if (k <= j) {
      for (var i = j + 1u + half; i < params.n; i += 2u) {
        sum += column[i] * h[params.offset + i * params.stride + k];
      }
    }
    if (half == 1u) { partial[k] = sum; }
    workgroupBarrier();
    let index = params.offset + j * params.stride + k;
    var value = 0.0;
    if (half == 0u && k <= j) { value = h[index] - (sum + partial[k]); }
    if (half == 0u && k == j) {
      // Finite and positive, asked of the bits: a compiler may assume that NaN does not occur.
      let bits = bitcast<u32>(value);
      let good = bits > 0u && bits < 0x7f800000u;
      if (!good) { failures[0] += 1u; }
      root = sqrt(select(1.0, value, good));
      h[index] = root;
    }
    workgroupBarrier();
    if (half == 0u && k < j) { h[index] = value / root; }
    storageBarrier();
    workgroupBarrier();
  }
}
