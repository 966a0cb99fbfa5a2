import { roundToF16 } from '../../core/dtype.js';
import type { Bits } from '../../engine/quant.js';
import { HQQ, LARGEST_ZERO } from '../../engine/hqq.js';
import type { RealMatrix } from '../matrix.js';
import { roundHalfEven } from '../rounding.js';

export interface HqqZerosArgs {
  /** [N, cols]. */
  readonly w: RealMatrix;
  readonly bits: Bits;
  readonly groupSize: number;
  readonly zeroKind: 'integer' | 'half-min';
  /** [N, cols/groupSize]: column i belongs to the i-th group of w. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
}

interface Round {
  /** Σ|w − r|. */
  readonly error: number;
  /** Where the next round starts. */
  readonly next: number;
}

/** Zeros of less error, group by group; see the contract. */
export function hqqZeros(args: HqqZerosArgs): void {
  const { w, groupSize, scales, zeros } = args;
  const groups = w.cols / groupSize;
  for (let i = 0; i < w.rows; i++)
    for (let g = 0; g < groups; g++) {
      const scale = scales.data[scales.offset + i * scales.stride + g];
      const at = zeros.offset + i * zeros.stride + g;
      if (Math.abs(zeros.data[at]) > LARGEST_ZERO) continue;
      zeros.data[at] = fitGroup(args, w.offset + i * w.stride + g * groupSize, scale, zeros.data[at]);
    }
}

function fitGroup(args: HqqZerosArgs, start: number, scale: number, first: number): number {
  let beta: number = HQQ.beta;
  let zero = first;
  let best = first;
  let least = Infinity;
  for (let round = 0; round < HQQ.rounds; round++) {
    const { error, next } = oneRound(args, start, { scale, zero, beta });
    if (!(error < least)) break;
    least = error;
    best = zero;
    zero = next;
    beta *= HQQ.kappa;
  }
  const kept = storable(args, scale, best);
  const { error } = oneRound(args, start, { scale, zero: kept, beta });
  const { error: before } = oneRound(args, start, { scale, zero: first, beta });
  return error < before ? kept : first;
}

/** The nearest zero that the target can hold. */
function storable({ bits, zeroKind }: HqqZerosArgs, scale: number, zero: number): number {
  if (zeroKind === 'integer') return Math.min(Math.max(roundHalfEven(zero), 0), 2 ** bits - 1);
  return -roundToF16(-scale * zero) / scale;
}

function oneRound(
  { w, bits, groupSize }: HqqZerosArgs,
  start: number,
  { scale, zero, beta }: { readonly scale: number; readonly zero: number; readonly beta: number },
): Round {
  const top = 2 ** bits - 1;
  let error = 0;
  let sum = 0;
  for (let j = start; j < start + groupSize; j++) {
    const value = w.data[j];
    const code = Math.min(Math.max(roundHalfEven(value / scale + zero), 0), top);
    const rest = value - scale * (code - zero);
    const size = Math.abs(rest);
    error += size;
    const kept = size === 0 ? 0 : Math.max(size - Math.pow(size, HQQ.norm - 1) / beta, 0);
    sum += code - (value - (rest < 0 ? -kept : kept)) / scale;
  }
  return { error, next: sum / groupSize };
}
