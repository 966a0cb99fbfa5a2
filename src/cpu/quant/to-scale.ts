import { roundToF16 } from '../../core/dtype.js';

const SMALLEST_F16 = 2 ** -24;
const LARGEST_F16 = 65504;

/** The float16 nearest to `value`, but neither 0 nor infinite; keeps the sign. */
export function toScale(value: number): number {
  const size = Math.min(Math.max(roundToF16(Math.abs(value)), SMALLEST_F16), LARGEST_F16);
  return value < 0 ? -size : size;
}
