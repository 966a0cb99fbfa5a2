// common/gemm-b-codes: 4×4 blocks of an operand b [N, K] of BITS-bit codes, value = scale·(code − zero).
// Row n is a bit stream of b_stride words, code k at bits k·BITS … ; K is a multiple of 4 because K·BITS is one of 32.
// Bindings: scales, zeros f32 [N, groups]; group_of u32 [K] in fours.
override BITS: u32 = 4u;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
@group(0) @binding(6) var<storage, read> zeros: array<f32>;
@group(0) @binding(7) var<storage, read> group_of: array<vec4<u32>>;

// Codes k … k + 3 of a row, k a multiple of 4; codes of 3, 5 and 6 bits may straddle two words.
fn b_codes(line: u32, k: u32) -> vec4<f32> {
  let bit = k * BITS;
  let shift = bit & 31u;
  var bits = b[line + (bit >> 5u)] >> shift;
  if (shift + 4u * BITS > 32u) { bits |= b[line + (bit >> 5u) + 1u] << (32u - shift); }
  return vec4<f32>((vec4(bits) >> (vec4(0u, 1u, 2u, 3u) * BITS)) & vec4((1u << BITS) - 1u));
}

// Values k … k + 3 of row `col` of the codes.
fn b_col(col: u32, k: u32, groups: vec4<u32>, one_group: bool) -> vec4<f32> {
  let row = min(col, params.n - 1u);
  let codes = b_codes(params.b_offset + row * params.b_stride, k);
  let line = vec4(row * params.groups) + groups;
  if (one_group) { return scales[line.x] * (codes - zeros[line.x]); }
  let zero = vec4(zeros[line.x], zeros[line.y], zeros[line.z], zeros[line.w]);
  return vec4(scales[line.x], scales[line.y], scales[line.z], scales[line.w]) * (codes - zero);
}

fn b_block(col: u32, k: u32) -> mat4x4<f32> {
  if (k >= params.k) { return mat4x4<f32>(); }
  let g = group_of[k / 4u];
  let one = all(g == g.xxxx);
  return transpose(
    mat4x4<f32>(b_col(col, k, g, one), b_col(col + 1u, k, g, one), b_col(col + 2u, k, g, one), b_col(col + 3u, k, g, one)),
  );
}
