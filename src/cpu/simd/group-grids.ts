import { f16ToF32, f32ToF16, roundToF16 } from '../../core/dtype.js';
import type { Bits, RangeRule } from '../../engine/quant.js';
import { roundHalfEven } from '../rounding.js';

export interface GroupGridsArgs {
  readonly rule: RangeRule;
  readonly bits: Bits;
  readonly minZero: 0 | 1;
  readonly groups: number;
  readonly groupSize: number;
  /** [groups·groupSize]: the weights, looked at only where the sign of the largest is in doubt. */
  readonly values: Float32Array;
  /** [groups, 3]: least and greatest weight of each group, and a third number that is not read here. */
  readonly ranges: Float32Array;
  /** [groups]. */
  readonly scales: Float32Array;
  /** The same memory as `scales`. */
  readonly scaleBits: Uint32Array;
  /** [groups]. */
  readonly zeros: Float32Array;
}

/**
 * Scales and zeros of the groups of one row from the ranges: the numbers of groupRange (src/cpu/quant/group-range.ts) with
 * range minmax, bit for bit. One plain loop after another over typed arrays: a few nanoseconds a group, where one loop
 * that does everything took two hundred.
 */
export function groupGrids(args: GroupGridsArgs): void {
  const { rule, bits, scales, scaleBits, zeros, groups } = args;
  const top = 2 ** bits - 1;
  const half = 2 ** (bits - 1);
  switch (rule) {
    case 'symmetric':
      symmetricExtents(args, top);
      roundScales(scales, scaleBits, groups);
      zeros.fill(half);
      break;
    case 'asymmetric':
      asymmetricExtents(args, top);
      roundScales(scales, scaleBits, groups);
      asymmetricZeros(args, top);
      break;
    case 'signed':
      signedExtents(args, half);
      roundScales(scales, scaleBits, groups);
      zeros.fill(half);
      break;
    case 'min':
      minExtents(args, top);
      roundScales(scales, scaleBits, groups);
      minZeros(args);
      break;
    default:
      rule satisfies never;
  }
}

function symmetricExtents({ ranges, scales, groups }: GroupGridsArgs, top: number): void {
  for (let g = 0; g < groups; g++) {
    const low = -ranges[3 * g];
    const high = ranges[3 * g + 1];
    const reach = low > high ? low : high;
    scales[g] = (2 * (reach === 0 ? 1 : reach)) / top;
  }
}

function asymmetricExtents({ ranges, scales, groups }: GroupGridsArgs, top: number): void {
  for (let g = 0; g < groups; g++) {
    const low = ranges[3 * g];
    const high = ranges[3 * g + 1];
    const extent = (high > 0 ? high : 0) - (low < 0 ? low : 0);
    scales[g] = (extent === 0 ? 2 : extent) / top;
  }
}

function asymmetricZeros({ ranges, minZero, scales, zeros, groups }: GroupGridsArgs, top: number): void {
  for (let g = 0; g < groups; g++) {
    const high = ranges[3 * g + 1];
    const low = ranges[3 * g];
    const reach = low < 0 ? -low : low === 0 && high === 0 ? 1 : 0;
    const zero = roundHalfEven(reach / scales[g]);
    zeros[g] = zero < top ? zero : top;
    if (zeros[g] >= minZero) continue;
    scales[g] = toScale(high / (top - minZero));
    zeros[g] = minZero;
  }
}

function signedExtents({ ranges, values, groupSize, scales, groups }: GroupGridsArgs, half: number): void {
  for (let g = 0; g < groups; g++) {
    const low = ranges[3 * g];
    const high = ranges[3 * g + 1];
    let extreme = high > -low ? high : low;
    if (high === -low && high !== 0) {
      // The first of the weights of largest magnitude decides.
      let at = g * groupSize;
      while (values[at] !== high && values[at] !== low) at++;
      extreme = values[at];
    }
    scales[g] = (extreme === 0 ? 1 : -extreme) / half;
  }
}

function minExtents({ ranges, scales, groups }: GroupGridsArgs, top: number): void {
  for (let g = 0; g < groups; g++) scales[g] = (ranges[3 * g + 1] - ranges[3 * g]) / top;
}

function minZeros({ ranges, scales, zeros, groups }: GroupGridsArgs): void {
  for (let g = 0; g < groups; g++) zeros[g] = -roundToF16(ranges[3 * g]) / scales[g];
}

/** Each scale ← the float16 nearest to it, but never 0; the sign stays. */
function roundScales(scales: Float32Array, bits: Uint32Array, groups: number): void {
  for (let g = 0; g < groups; g++) {
    const word = bits[g];
    const magnitude = word & 0x7fffffff;
    // Numbers that are normal as float16 lose 13 bits in place.
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000)
      bits[g] = (word + 0xfff + ((word >>> 13) & 1)) & ~0x1fff;
    else scales[g] = toScale(scales[g]);
  }
}

const SMALLEST_F16 = 2 ** -24;

function toScale(value: number): number {
  const scale = f16ToF32(f32ToF16(value));
  if (scale !== 0) return scale;
  // A negative scale below what float32 holds is −0 by now.
  return 1 / value < 0 ? -SMALLEST_F16 : SMALLEST_F16;
}
