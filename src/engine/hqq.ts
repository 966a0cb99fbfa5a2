import type { Bits } from './quant.js';
import type { MatrixView, Tensor } from './tensor.js';

export interface HqqZerosOptions {
  /** f32 [N, cols]: the weights, cols = a whole number of groups. */
  readonly w: MatrixView;
  readonly bits: Bits;
  readonly groupSize: number;
  /** integer: zero points of codes, 0 … 2^bits − 1. half-min: −scale·zero is a float16 value. */
  readonly zeroKind: 'integer' | 'half-min';
  /** f32 [N, G]: read; columns firstGroup + i belong to the i-th group of w. */
  readonly scales: Tensor;
  /** f32 [N, G]: on entry where to start from, on exit the better zeros. */
  readonly zeros: Tensor;
  readonly firstGroup: number;
}

/** Half-quadratic quantization (Badri and Shaji, 2023): data-free fits of zero points. */
export interface HqqOps {
  /**
   * Group by group, for at most 20 rounds: q = clamp(round(w/s + z)), r = s·(q − z), e = w − r with its small part shrunk
   * away (proximal step of the l_0.7 norm: sign(e)·max(|e| − |e|^−0.3/β, 0)), z ← mean(q − (w − e)/s), β = 10·1.01^round;
   * stops when mean|w − r| no longer falls, and keeps the zero of the least. The start is kept where nothing is better.
   */
  hqqZeros(options: HqqZerosOptions): void;
}

export const HQQ = { rounds: 20, beta: 10, kappa: 1.01, norm: 0.7 } as const;
/** Zeros beyond this stand for constant groups and are left alone. */
export const LARGEST_ZERO = 2 ** 20;
