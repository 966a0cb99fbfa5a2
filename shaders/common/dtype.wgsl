// common/dtype: float16 and bfloat16 as bits, two to a u32 word, low half first. Integer arithmetic on purpose:
// unpack2x16float may flush subnormals and the rounding of pack2x16float is the implementation's choice.

// The 16 bits of element `index` out of the word that holds it (word index >> 1).
fn half_of(word: u32, index: u32) -> u32 {
  return (word >> ((index & 1u) * 16u)) & 0xffffu;
}

fn bf16_to_f32(bits: u32) -> f32 {
  return bitcast<f32>(bits << 16u);
}

// Exact for every float16, infinities and NaN included.
fn f16_to_f32(bits: u32) -> f32 {
  let sign = (bits & 0x8000u) << 16u;
  let magnitude = bits & 0x7fffu;
  // Exponent 31 maps to 255, normal numbers are rebased by 112, subnormals are fraction · 2^-24.
  let rebase = select(0x38000000u, 0x70000000u, magnitude >= 0x7c00u);
  let normal = (magnitude << 13u) + rebase;
  let subnormal = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
  return bitcast<f32>(sign | select(normal, subnormal, magnitude < 0x400u));
}

// Nearest float16, ties to even, subnormals kept, overflow to infinity, NaN stays NaN.
fn f32_to_f16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude >= 0x477ff000u) { return sign | 0x7c00u; }
  if (magnitude >= 0x38800000u) {
    let rebased = magnitude - 0x38000000u;
    return sign | ((rebased + 0xfffu + ((rebased >> 13u) & 1u)) >> 13u);
  }
  if (magnitude < 0x33000000u) { return sign; }
  let shift = 126u - (magnitude >> 23u);
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  let half = mantissa >> shift;
  let rest = mantissa & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  return sign | (half + select(0u, 1u, rest > middle || (rest == middle && (half & 1u) == 1u)));
}

// The float16 value nearest to `value`, as f32.
fn round_to_f16(value: f32) -> f32 {
  return f16_to_f32(f32_to_f16(value));
}
