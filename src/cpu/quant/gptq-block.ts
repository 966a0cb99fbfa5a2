import type { Bits } from '../../engine/quant.js';
import type { ByteMatrix, RealMatrix } from '../matrix.js';
import { ROUND_MAGIC } from '../rounding.js';

export interface GptqBlockArgs {
  readonly bits: Bits;
  /** [N, G]. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  /** [N, n] original weights. */
  readonly w: RealMatrix;
  /** [N, n] carried error T. */
  readonly carried: RealMatrix;
  /** Factored block [n, n], lower triangle. */
  readonly l: RealMatrix;
  /** [K]; column j of the block is entry firstColumn + j. */
  readonly groupOf: Uint32Array;
  readonly firstColumn: number;
  /** [N, n]: receives E = W − Q. */
  readonly error: RealMatrix;
  readonly codes: ByteMatrix;
  /** [N, 1]: Σ_j (L[j,j]·(c_j − Q_j))² is added. */
  readonly losses: RealMatrix;
}

/**
 * GPTQ's column loop inside one block (numerics.md section 2, steps 5 and 6), rows independent, in float64:
 * c_j = w_j + (T_j + Σ_{i<j} E_i·L[j,i]) / L[j,j]; Q_j = grid(c_j); E_j = w_j − Q_j.
 */
export function gptqBlock(args: GptqBlockArgs): void {
  const { w, carried, error, codes, losses, scales, zeros, groupOf, firstColumn } = args;
  const n = w.cols;
  const top = 2 ** args.bits - 1;
  const l = lowerTriangle(args.l);
  const row = new Float64Array(n);
  for (let r = 0; r < w.rows; r++) {
    const wAt = w.offset + r * w.stride;
    const tAt = carried.offset + r * carried.stride;
    const eAt = error.offset + r * error.stride;
    const codeAt = codes.offset + r * codes.stride;
    const scaleAt = scales.offset + r * scales.stride;
    const zeroAt = zeros.offset + r * zeros.stride;
    let loss = 0;
    for (let j = 0; j < n; j++) {
      const line = j * n;
      let sum = carried.data[tAt + j];
      for (let i = 0; i < j; i++) sum += row[i] * l[line + i];
      const pivot = l[line + j];
      const original = w.data[wAt + j];
      const corrected = original + sum / pivot;
      const group = groupOf[firstColumn + j];
      const scale = scales.data[scaleAt + group];
      const zero = zeros.data[zeroAt + group];
      let code = corrected / scale + ROUND_MAGIC - ROUND_MAGIC + zero;
      if (code < 0) code = 0;
      if (code > top) code = top;
      const value = scale * (code - zero);
      const miss = pivot * (corrected - value);
      loss += miss * miss;
      row[j] = original - value;
      codes.data[codeAt + j] = code;
      error.data[eAt + j] = row[j];
    }
    losses.data[losses.offset + r * losses.stride] += loss;
  }
}

/** The lower triangle as contiguous float64 rows [n, n]; the rest is zero. */
export function lowerTriangle(l: RealMatrix): Float64Array {
  const n = l.rows;
  const packed = new Float64Array(n * n);
  for (let j = 0; j < n; j++)
    for (let i = 0; i <= j; i++) packed[j * n + i] = l.data[l.offset + j * l.stride + i];
  return packed;
}
