import type { Bits } from '../../../src/engine/quant.js';

/** Codes found and expected that differ, split by whether the difference can be excused. */
export interface CodeDifferences {
  /** Differ by one where the unrounded value lies within `reach` of a boundary. */
  readonly boundary: number;
  /** Everything else that differs: a mistake. */
  readonly wrong: number;
}

/**
 * Compares codes. `unrounded` holds value/scale + zero of each element in float64; a boundary is a half-integer, and
 * `reach` the distance from it, in code steps, that rounding errors of the float32 kernel may bridge.
 */
export function compareCodes(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  unrounded: ArrayLike<number>,
  reach: number,
): CodeDifferences {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} codes, expected ${expected.length}`);
  let boundary = 0;
  let wrong = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue;
    const distance = Math.abs(unrounded[i] - Math.floor(unrounded[i]) - 0.5);
    if (Math.abs(actual[i] - expected[i]) === 1 && distance <= reach) boundary++;
    else wrong++;
  }
  return { boundary, wrong };
}

export const ALL_BITS: readonly Bits[] = [2, 3, 4, 5, 6, 8];

/** Round half to even, the slow and obvious way. */
export function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** clamp(round(value/scale) + zero, 0, 2^bits − 1). */
export function nearestCode(value: number, scale: number, zero: number, bits: Bits): number {
  return Math.min(Math.max(roundEven(value / scale) + zero, 0), 2 ** bits - 1);
}
