// common/grid: the affine grid value = scale·(code − zero), codes 0 … top, scales that float16 holds, zeros 0 … 255.
// A code is decided by exact arithmetic, so the 2.5 ULP that WGSL allows a division never flips one.

// Halves to even of value / scale, limited to ±600, which no code tells apart from farther out. `scale` has 11 bits
// and the quotient 10, so quotient·scale and what remains of `value` near it are exact in f32 (fused or not).
fn round_ratio(value: f32, scale: f32) -> f32 {
  let quotient = round(clamp(value / scale, -600.0, 600.0));
  let rest = value - quotient * scale;
  let odd = (i32(quotient) & 1) != 0;
  let beyond = abs(rest) > 0.5 * scale || (abs(rest) == 0.5 * scale && odd);
  return quotient + select(0.0, sign(rest), beyond);
}

fn grid_code(value: f32, scale: f32, zero: f32, top: f32) -> f32 {
  return clamp(round_ratio(value, scale) + zero, 0.0, top);
}

// Exact in f32: 11 bits times 9 bits.
fn grid_value(code: f32, scale: f32, zero: f32) -> f32 {
  return scale * (code - zero);
}
