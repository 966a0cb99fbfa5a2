import type { QuantizedLinear, QuantStats } from '../quant/records.js';

/** One quantized linear as it comes out of a run. */
export interface FinishedLinear {
  /** Module path. */
  readonly name: string;
  /** What was done, after any fallback. */
  readonly method: 'gptq' | 'rtn';
  readonly linear: QuantizedLinear;
  readonly stats: QuantStats;
}
