// common/gemm-b-half: 4×4 blocks of an operand b [N, K] in float16 or bfloat16, converted exactly; two elements to a
// u32 word, low half first, rows may start at an odd element. Included after common/dtype and common/gemm.
//#flag B_PAIRS: offset and stride of b are multiples of 4 elements
//#flag B_BF16: b is bfloat16, else float16
//#if B_PAIRS
@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>;
//#else
@group(0) @binding(2) var<storage, read> b: array<u32>;
//#endif

fn b_half(bits: u32) -> f32 {
  //#if B_BF16
  return bf16_to_f32(bits);
  //#else
  return f16_to_f32(bits);
  //#endif
}

// Elements index … index + 3 as two words; the caller drops those past K, and reads past the tensor are clamped.
fn b_words(index: u32) -> vec2<u32> {
  //#if B_PAIRS
  return b[index / 4u];
  //#else
  let word = index >> 1u;
  let low = vec2(b[word], b[word + 1u]);
  if ((index & 1u) == 0u) { return low; }
  return (low >> vec2(16u)) | (vec2(low.y, b[word + 2u]) << vec2(16u));
  //#endif
}

// Steps k … k + 3 of one column of the product's operand.
fn b_col(col: u32, k: u32) -> vec4<f32> {
  let words = b_words(params.b_offset + min(col, params.n - 1u) * params.b_stride + k);
  let four = vec4(
    b_half(words.x & 0xffffu),
    b_half(words.x >> 16u),
    b_half(words.y & 0xffffu),
    b_half(words.y >> 16u),
  );
  if (k + 4u > params.k) { return within_k(four, k); }
  return four;
}

fn b_block(col: u32, k: u32) -> mat4x4<f32> {
  if (k >= params.k) { return mat4x4<f32>(); }
  return transpose(mat4x4<f32>(b_col(col, k), b_col(col + 1u, k), b_col(col + 2u, k), b_col(col + 3u, k)));
}
