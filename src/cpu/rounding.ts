/**
 * Adding and subtracting 1.5·2^52 leaves no bits for a fraction, so the processor's own round-half-to-even does the
 * rounding. Right for |value| < 2^51; beyond that callers clamp anyway, and NaN and infinities pass through.
 */
export const ROUND_MAGIC = 6755399441055744;

/** Round to the nearest integer, halves to even (PyTorch's and WGSL's `round`). */
export function roundHalfEven(value: number): number {
  return value + ROUND_MAGIC - ROUND_MAGIC;
}
