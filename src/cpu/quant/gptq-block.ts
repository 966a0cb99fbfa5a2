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

/** Partial sums of a row's carried error, so that additions do not wait for one another. */
const LANES = 4;

/**
 * GPTQ's column loop inside one block (numerics.md section 2, steps 5 and 6), rows independent, in float64:
 * c_j = w_j + (T_j + Σ_{i<j} E_i·L[j,i]) / L[j,j]; Q_j = grid(c_j); E_j = w_j − Q_j.
 */
export function gptqBlock(args: GptqBlockArgs): void {
  const { w, losses } = args;
  const n = w.cols;
  const padded = n + LANES;
  const l = lowerTriangle(args.l, padded);
  const inverse = Float64Array.from({ length: n }, (_, j) => 1 / l[j * padded + j]);
  const groups = args.groupOf.slice(args.firstColumn, args.firstColumn + n);
  const errors = new Float64Array(padded);
  for (let row = 0; row < w.rows; row++) {
    // Errors not made yet count as zero, so the sums may run past the current column.
    errors.fill(0);
    losses.data[losses.offset + row * losses.stride] += gptqRow(args, row, { l, inverse, groups, errors });
  }
}

/** What the rows of a block share. */
interface BlockScratch {
  /** Rows of n + LANES elements. */
  readonly l: Float64Array;
  /** 1/L[j,j]: a division less on the chain from one column to the next. */
  readonly inverse: Float64Array;
  /** Group of each column. */
  readonly groups: Uint32Array;
  /** E of the current row, n + LANES elements. */
  readonly errors: Float64Array;
}

/** One row; everything the inner loop touches is a local, which is worth a factor of three. Returns its loss. */
function gptqRow(args: GptqBlockArgs, row: number, shared: BlockScratch): number {
  const { w, carried, error, codes, scales, zeros } = args;
  const { l, inverse, groups, errors } = shared;
  const [wData, tData, eData, qData] = [w.data, carried.data, error.data, codes.data];
  const wAt = w.offset + row * w.stride;
  const tAt = carried.offset + row * carried.stride;
  const eAt = error.offset + row * error.stride;
  const qAt = codes.offset + row * codes.stride;
  const sAt = scales.offset + row * scales.stride;
  const zAt = zeros.offset + row * zeros.stride;
  const n = groups.length;
  const top = 2 ** args.bits - 1;
  let loss = 0;
  for (let j = 0, line = 0; j < n; j++, line += n + LANES) {
    let s0 = tData[tAt + j];
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let i = 0; i < j; i += LANES) {
      s0 += errors[i] * l[line + i];
      s1 += errors[i + 1] * l[line + i + 1];
      s2 += errors[i + 2] * l[line + i + 2];
      s3 += errors[i + 3] * l[line + i + 3];
    }
    const pivot = l[line + j];
    const original = wData[wAt + j];
    const corrected = original + (s0 + s1 + (s2 + s3)) * inverse[j];
    const scale = scales.data[sAt + groups[j]];
    const zero = zeros.data[zAt + groups[j]];
    const rounded = corrected / scale + ROUND_MAGIC - ROUND_MAGIC + zero;
    const code = rounded < 0 ? 0 : rounded > top ? top : rounded;
    const value = scale * (code - zero);
    const miss = pivot * (corrected - value);
    loss += miss * miss;
    errors[j] = original - value;
    eData[eAt + j] = original - value;
    qData[qAt + j] = code;
  }
  return loss;
}

/** The lower triangle as float64 rows of `stride` elements; the rest is zero. */
export function lowerTriangle(l: RealMatrix, stride: number = l.rows): Float64Array {
  const n = l.rows;
  const packed = new Float64Array(n * stride);
  for (let j = 0; j < n; j++)
    for (let i = 0; i <= j; i++) packed[j * stride + i] = l.data[l.offset + j * l.stride + i];
  return packed;
}
