import type { Bits, RangeRule } from './quant.js';
import type { MatrixView, Tensor } from './tensor.js';

export interface QuantizeGroupsOptions {
  /** f32, f16 or bf16 [N, K] as the checkpoint stores it; K is a whole number of groups. */
  readonly w: MatrixView;
  readonly rule: RangeRule;
  readonly bits: Bits;
  /** Columns per group, a multiple of 4. */
  readonly groupSize: number;
  /** Smallest zero point of asymmetric grids, as in GroupRangeOptions. */
  readonly minZero: 0 | 1;
  /** u32, N·K·bits/32 elements or more: rows of codes as one bit stream each, least significant bits first. */
  readonly packed: Tensor;
  /** f32, N·G elements or more, row by row. */
  readonly scales: Tensor;
  /** f32, N·G elements or more; what groupRange writes. */
  readonly zeros: Tensor;
  /** u32, N elements or more: 1 where a row of w holds NaN or infinity; that row's other results are unspecified. */
  readonly nonFinite: Tensor;
}

/** Round to nearest in one pass over weights as they are stored: what streams a checkpoint through an engine. */
export interface QuantizeGroupsOps {
  /**
   * The results of groupRange with range minmax, quantizeNearest and packCodes in natural order, without anything in
   * between. Results lie without gaps at the start of their tensors, which may be longer.
   */
  quantizeGroups(options: QuantizeGroupsOptions): void;
}
