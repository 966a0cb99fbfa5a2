import type { Bits, RangeRule } from '../../engine/quant.js';
import type { RealMatrix, Reals } from '../matrix.js';
import { roundHalfEven } from '../rounding.js';
import { groupFit } from './group-fit.js';
import { toScale } from './to-scale.js';

export interface GroupRangeArgs {
  /** [N, cols]. */
  readonly w: RealMatrix;
  readonly bits: Bits;
  readonly groupSize: number;
  readonly rule: RangeRule;
  readonly range: 'minmax' | 'mse';
  readonly minZero: 0 | 1;
  /** [cols], for the search of the rules signed and min; undefined for 1 everywhere. */
  readonly costs?: Reals | undefined;
  /** [N, cols/groupSize]: column i receives the i-th group of w. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
}

export interface Grid {
  readonly scale: number;
  readonly zero: number;
}

/** GPTQ's search: 80 shrink factors 1 − i/100, error exponent 2.4. */
const SHRINK_STEPS = 80;
const ERROR_EXPONENT = 2.4;

/**
 * Scale and zero of each group of each row (quant/README.md section 1), scales as float16 values. Scales pass through
 * float32 on their way from float64 to float16; that double rounding is part of the definition.
 */
export function groupRange(args: GroupRangeArgs): void {
  const { w, groupSize, scales, zeros } = args;
  const groups = w.cols / groupSize;
  const grid = args.rule === 'signed' || args.rule === 'min' ? groupFit : groupGrid;
  for (let i = 0; i < w.rows; i++)
    for (let g = 0; g < groups; g++) {
      const start = w.offset + i * w.stride + g * groupSize;
      const { scale, zero } = grid(args, start, g * groupSize);
      scales.data[scales.offset + i * scales.stride + g] = scale;
      zeros.data[zeros.offset + i * zeros.stride + g] = zero;
    }
}

function groupGrid(args: GroupRangeArgs, start: number): Grid {
  const data = args.w.data;
  const end = start + args.groupSize;
  let low = 0;
  let high = 0;
  for (let j = start; j < end; j++) {
    const value = data[j];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low === 0 && high === 0) {
    low = -1;
    high = 1;
  }
  return args.range === 'minmax' ? makeGrid(args, low, high) : searchGrid(args, low, high, start);
}

function makeGrid(args: GroupRangeArgs, low: number, high: number): Grid {
  const top = 2 ** args.bits - 1;
  if (args.rule === 'symmetric')
    return { scale: toScale((2 * Math.max(-low, high)) / top), zero: 2 ** (args.bits - 1) };
  const scale = toScale((high - low) / top);
  const zero = Math.min(roundHalfEven(-low / scale), top);
  if (zero >= args.minZero) return { scale, zero };
  return { scale: toScale(high / (top - args.minZero)), zero: args.minZero };
}

function searchGrid(args: GroupRangeArgs, low: number, high: number, start: number): Grid {
  let best = makeGrid(args, low, high);
  let bestError = gridError(args, best, start, Infinity);
  for (let i = 1; i < SHRINK_STEPS; i++) {
    const share = 1 - i / 100;
    const grid = makeGrid(args, low * share, high * share);
    const error = gridError(args, grid, start, bestError);
    if (error < bestError) {
      best = grid;
      bestError = error;
    }
  }
  return best;
}

/** Σ|w − grid(w)|^2.4, or any value ≥ limit as soon as the sum has reached it. */
function gridError(args: GroupRangeArgs, grid: Grid, start: number, limit: number): number {
  const data: Reals = args.w.data;
  const top = 2 ** args.bits - 1;
  const end = start + args.groupSize;
  const { scale, zero } = grid;
  let sum = 0;
  for (let j = start; j < end && !(sum >= limit); j++) {
    const value = data[j];
    const code = Math.min(Math.max(roundHalfEven(value / scale) + zero, 0), top);
    sum += Math.pow(Math.abs(value - scale * (code - zero)), ERROR_EXPONENT);
  }
  return sum;
}
