// common/grid: the affine grid value = scale·(code − zero), codes 0 … top, scale not 0, zero any real number. Where scale is
// a float16 value and zero an integer 0 … 255, a code is decided by exact arithmetic, so the 2.5 ULP that WGSL allows a
// division never flips one; else a code may be off by one where the quotient is within 1e-5 steps or so of a half.

// Halves to even of value / scale + shift, |shift| ≤ 1/2, limited to ±600 around −whole, which no code tells apart from
// farther out. With 11 bits of scale and 10 of the quotient, quotient·scale and what remains of `value` near it are exact
// in f32 (fused or not).
fn round_ratio_near(value: f32, scale: f32, shift: f32, whole: f32) -> f32 {
  let quotient = round(clamp(value / scale + shift, -600.0 - whole, 600.0 - whole));
  let rest = value - quotient * scale + shift * scale;
  let odd = (i32(quotient) & 1) != 0;
  let half = 0.5 * abs(scale);
  let beyond = abs(rest) > half || (abs(rest) == half && odd);
  return quotient + select(0.0, sign(rest) * sign(scale), beyond);
}

// Halves to even of value / scale, limited to ±600.
fn round_ratio(value: f32, scale: f32) -> f32 {
  return round_ratio_near(value, scale, 0.0, 0.0);
}

fn grid_code(value: f32, scale: f32, zero: f32, top: f32) -> f32 {
  let whole = round(zero);
  return clamp(round_ratio_near(value, scale, zero - whole, whole) + whole, 0.0, top);
}

// Exact in f32 where scale has 11 bits and zero is an integer below 256.
fn grid_value(code: f32, scale: f32, zero: f32) -> f32 {
  return scale * (code - zero);
}
