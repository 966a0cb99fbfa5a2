// common/gemm: operands, Params and the write of c ← alpha·a·b + beta·c (+ bias), shared by the gemm variants. Included
// after common/triangle and common/dtype.
// Both operands are read as 4×4 blocks whose column i holds step k+i: of four rows of a, or of four columns of b. Rows
// and columns past the edge repeat the last one and are never written; steps past K read as zero.
// Dims: a [M, K] (TRANS_A: [K, M]), b [K, N] or [N, K], c [M, N], all row-major views.
//#flag TRANS_A: a is stored [K, M]
//#flag A_VEC4: offset and stride of a are multiples of 4
//#flag A_IN_C: a is a view of the tensor of c
//#flag B_REAL: b is f32 (common/gemm-b-real)
//#flag B_HALF: b is f16 or bf16 [N, K] (common/gemm-b-half)
//#flag B_CODES: b is a matrix of codes [N, K] on an affine grid (common/gemm-b-codes)
//#flag B_CODEBOOK: b is a matrix of 4-bit codes [N, K] into a table (common/gemm-b-codebook)
//#flag BIAS: bias [N] is added
//#flag BIAS_HALF: bias holds 16-bit floats
//#flag BIAS_BF16: those are bfloat16, else float16
struct Params {
  m: u32,
  n: u32,
  k: u32,
  a_offset: u32,
  a_stride: u32,
  b_offset: u32,
  b_stride: u32, // B_CODES: words in a row
  c_offset: u32,
  c_stride: u32,
  triangle: u32, // see common/triangle
  row_offset: i32,
  tiles_m: u32, // tiles of c down and across
  tiles_n: u32,
  beta: u32,
  groups: u32, // B_CODES: columns of scales and zeros; B_CODEBOOK: log2 of the block size
  alpha: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
//#if !A_IN_C
//#if A_VEC4
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
//#else
@group(0) @binding(1) var<storage, read> a: array<f32>;
//#endif
//#endif
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
//#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<u32>;
//#endif

fn a_at(index: u32) -> f32 {
  //#if A_IN_C
  return c[index];
  //#else
  //#if A_VEC4
  return a[index / 4u][index % 4u];
  //#else
  return a[index];
  //#endif
  //#endif
}

// Four neighbours from element `index` on, of which the first `count` count.
fn a_four(index: u32, count: u32) -> vec4<f32> {
  //#if A_VEC4
  return a[index / 4u];
  //#else
  let last = index + min(count, 4u) - 1u;
  return vec4(a_at(index), a_at(min(index + 1u, last)), a_at(min(index + 2u, last)), a_at(min(index + 3u, last)));
  //#endif
}

// Zeroes the steps past K.
fn within_k(v: vec4<f32>, k: u32) -> vec4<f32> {
  let step = vec4(k, k + 1u, k + 2u, k + 3u);
  return select(vec4<f32>(), v, step < vec4(params.k));
}

//#if TRANS_A
// Rows row … row + 3 of a at step k.
fn a_step(row: u32, k: u32) -> vec4<f32> {
  if (k >= params.k) { return vec4<f32>(); }
  let first = min(row, params.m - 1u);
  return a_four(params.a_offset + k * params.a_stride + first, params.m - first);
}

fn a_block(row: u32, k: u32) -> mat4x4<f32> {
  return mat4x4<f32>(a_step(row, k), a_step(row, k + 1u), a_step(row, k + 2u), a_step(row, k + 3u));
}
//#else
// Steps k … k + 3 of one row of a.
fn a_row(row: u32, k: u32) -> vec4<f32> {
  let four = a_four(params.a_offset + min(row, params.m - 1u) * params.a_stride + k, params.k - k);
  if (k + 4u > params.k) { return within_k(four, k); }
  return four;
}

fn a_block(row: u32, k: u32) -> mat4x4<f32> {
  if (k >= params.k) { return mat4x4<f32>(); }
  return transpose(mat4x4<f32>(a_row(row, k), a_row(row + 1u, k), a_row(row + 2u, k), a_row(row + 3u, k)));
}
//#endif

fn bias_at(col: u32) -> f32 {
  //#if BIAS
  //#if BIAS_HALF
  let bits = half_of(bias[col >> 1u], col);
  return bias_half(bits);
  //#else
  return bitcast<f32>(bias[col]);
  //#endif
  //#else
  return 0.0;
  //#endif
}

//#if BIAS_BF16
fn bias_half(bits: u32) -> f32 { return bf16_to_f32(bits); }
//#else
fn bias_half(bits: u32) -> f32 { return f16_to_f32(bits); }
//#endif

// Whether a tile has an element to write: its top right corner (upper) or bottom left one (lower) decides.
fn tile_wanted(row: u32, col: u32, size: u32) -> bool {
  if (row >= params.m || col >= params.n) { return false; }
  let last = size - 1u;
  return params.triangle == 0u || (params.triangle == 1u && in_triangle(row, col + last)) ||
    (params.triangle == 2u && in_triangle(row + last, col));
}

fn store_one(row: u32, col: u32, sum: f32) {
  if (!in_triangle(row, col)) { return; }
  let index = params.c_offset + row * params.c_stride + col;
  var value = params.alpha * sum + bias_at(col);
  if (params.beta != 0u) { value += c[index]; }
  c[index] = value;
}

// Writes the 4 × 4 block of c at (row, col); column i of `sums` is row + i. A loop with a runtime end on purpose:
// unrolled, the sixteen guarded writes take a compiler for CPUs longer than all the rest.
fn store_block(row: u32, col: u32, sums: mat4x4<f32>) {
  if (row >= params.m || col >= params.n) { return; }
  var rows = sums;
  let height = min(4u, params.m - row);
  let width = min(4u, params.n - col);
  for (var e = 0u; e < height * width; e++) { store_one(row + e / width, col + e % width, rows[e / width][e % width]); }
}
