import type { Bits } from '../../engine/quant.js';
import type { ByteMatrix, RealMatrix } from '../matrix.js';
import { ROUND_MAGIC } from '../rounding.js';

export interface QuantizeNearestArgs {
  readonly bits: Bits;
  /** [N, G]. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  /** [N, n]. */
  readonly w: RealMatrix;
  /** [K]; column j of w is entry firstColumn + j. */
  readonly groupOf: Uint32Array;
  readonly firstColumn: number;
  readonly codes: ByteMatrix;
  readonly error: RealMatrix;
}

/** codes ← nearest code of w (QuantOps), error ← w − s·(code − z). */
export function quantizeNearest(args: QuantizeNearestArgs): void {
  const { scales, zeros, w, groupOf, firstColumn, codes, error } = args;
  const top = 2 ** args.bits - 1;
  for (let i = 0; i < w.rows; i++) {
    const from = w.offset + i * w.stride;
    const scaleRow = scales.offset + i * scales.stride;
    const zeroRow = zeros.offset + i * zeros.stride;
    const codeRow = codes.offset + i * codes.stride;
    const errorRow = error.offset + i * error.stride;
    for (let j = 0; j < w.cols; j++) {
      const group = groupOf[firstColumn + j];
      const scale = scales.data[scaleRow + group];
      const zero = zeros.data[zeroRow + group];
      const value = w.data[from + j];
      const whole = zero + ROUND_MAGIC - ROUND_MAGIC;
      let code = value / scale + (zero - whole) + ROUND_MAGIC - ROUND_MAGIC + whole;
      if (code < 0) code = 0;
      if (code > top) code = top;
      codes.data[codeRow + j] = code;
      error.data[errorRow + j] = value - scale * (code - zero);
    }
  }
}
