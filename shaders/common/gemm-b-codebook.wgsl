// common/gemm-b-codebook: 4×4 blocks of an operand b [N, K] of 4-bit codes, value = table[code]·absmax[block], blocks of
// 2^groups elements of the flattened matrix, straight through row ends; row n starts at element n·b_stride.
// Two codes a byte, the first in the high nibble. Bindings: absmax f32 [blocks]; table f32 [16].
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(5) var<storage, read> absmax: array<f32>;
@group(0) @binding(6) var<storage, read> table: array<f32>;

// Values k … k + 3 of row `col` of the codes: at most two words and two blocks.
fn b_col(col: u32, k: u32) -> vec4<f32> {
  let first = min(col, params.n - 1u) * params.b_stride + k;
  let at = vec4(first) + vec4(0u, 1u, 2u, 3u);
  let words = select(vec4(b[(first + 3u) >> 3u]), vec4(b[first >> 3u]), (at >> vec4(3u)) == vec4(first >> 3u));
  let codes = (words >> (((at & vec4(7u)) ^ vec4(1u)) << vec4(2u))) & vec4(15u);
  let block = first >> params.groups;
  let same = (at >> vec4(params.groups)) == vec4(block);
  let scales = select(vec4(absmax[(first + 3u) >> params.groups]), vec4(absmax[block]), same);
  return within_k(scales * vec4(table[codes.x], table[codes.y], table[codes.z], table[codes.w]), k);
}

fn b_block(col: u32, k: u32) -> mat4x4<f32> {
  if (k >= params.k) { return mat4x4<f32>(); }
  return transpose(mat4x4<f32>(b_col(col, k), b_col(col + 1u, k), b_col(col + 2u, k), b_col(col + 3u, k)));
}
