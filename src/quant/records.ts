import type { AffineWeight } from '../engine/quant.js';
import type { GridSpec } from '../core/quantized-linear.js';

/** How a linear layer is to be quantized; the names are those of the command line. */
export interface QuantSpec extends GridSpec {
  readonly method: 'gptq' | 'rtn';
  /** One scale and zero for the whole matrix (groupSize −1, range minmax, rules symmetric and asymmetric). */
  readonly perTensor?: boolean;
  /** Processing order of the columns: as they are, act-order, or group-aware order. GPTQ only. */
  readonly order: 'natural' | 'act' | 'group-aware';
  /** All scales from the original weights before the column loop. */
  readonly staticGroups: boolean;
  /** Damping as a share of the mean diagonal of H. */
  readonly damp: number;
  /** hqq: minmax, then zeros fitted by half-quadratic quantization; rules asymmetric and min. */
  readonly range: 'minmax' | 'mse' | 'hqq';
  /** Refinement sweeps after GPTQ (quant/README.md section 2, step 9); 0 for none. */
  readonly refine: number;
  /** Smallest zero point the target format can hold; for the rule asymmetric. */
  readonly minZero: 0 | 1;
}

/** A linear layer as quantizeLinear leaves it on the engine. */
export interface QuantizedWeight extends AffineWeight {
  readonly kind: 'affine';
  /** k-quants, on the host: [N, 2·(K/256)], d and dmin of each super-block side by side. */
  readonly superBlocks?: Float32Array;
}

/** What quantizing one linear layer gave, as figures for the report. */
export interface QuantStats {
  /** tr((W−Q) H (W−Q)ᵀ) with the undamped H = (2/n) XᵀX; NaN-free. For data-free runs undefined. */
  readonly loss?: number;
  /** The same for round-to-nearest with the same grid settings. */
  readonly rtnLoss?: number;
  /** ‖X(W−Q)ᵀ‖² / ‖XWᵀ‖². */
  readonly relativeOutputError?: number;
  /** Damping that made the factorisation succeed, as a share of the mean diagonal. */
  readonly damp?: number;
  /** Rungs of the damping ladder tried, the successful one last. */
  readonly dampTried?: readonly number[];
  /** Value the diagonal was floored to, when even damping 1 failed. */
  readonly diagonalFloor?: number;
  /** Input columns that never fired; their weights became zero. */
  readonly deadColumns?: number;
  /** Refinement sweeps that ran. */
  readonly refined: number;
  /** Groups along K. */
  readonly groups: number;
  /** AWQ: exponent of the input factors; 0 where nothing was scaled. */
  readonly alpha?: number;
}
