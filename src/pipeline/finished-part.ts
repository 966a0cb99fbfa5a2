import type { QuantizedLinear } from '../core/quantized-linear.js';
import type { QuantStats } from '../quant/records.js';
import type { Method } from './quantize-settings.js';

/** One quantized linear as it comes out of a run. */
export interface FinishedLinear {
  readonly kind: 'linear';
  /** Module path. */
  readonly name: string;
  /** What was done, after any fallback. */
  readonly method: Method | 'taken over';
  readonly linear: QuantizedLinear;
  readonly stats: QuantStats;
}

/** A dense tensor that the run has made or changed, in the dtype that was planned for it. */
export interface FinishedDense {
  readonly kind: 'dense';
  /** Tensor name. */
  readonly name: string;
  readonly bytes: Iterable<Uint8Array>;
}

export type FinishedPart = FinishedLinear | FinishedDense;
