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

/** Rows done together, so that one element of L serves four independent sums. */
const LANES = 4;

/**
 * GPTQ's column loop inside one block (numerics.md section 2, steps 5 and 6), rows independent, in float64:
 * c_j = w_j + (T_j + Σ_{i<j} E_i·L[j,i]) / L[j,j]; Q_j = grid(c_j); E_j = w_j − Q_j.
 */
export function gptqBlock(args: GptqBlockArgs): void {
  const { w, carried } = args;
  const n = w.cols;
  const l = lowerTriangle(args.l);
  /** Errors of the four rows, interleaved: E of row r + lane and column i at LANES·i + lane. */
  const errors = new Float64Array(LANES * n);
  const sums = new Float64Array(LANES);
  const losses = new Float64Array(LANES);
  for (let row = 0; row < w.rows; row += LANES) {
    const lanes = Math.min(LANES, w.rows - row);
    errors.fill(0);
    losses.fill(0);
    for (let j = 0; j < n; j++) {
      addErrors(errors, l, j * n, j, sums);
      for (let lane = 0; lane < lanes; lane++)
        sums[lane] += carried.data[carried.offset + (row + lane) * carried.stride + j];
      quantizeColumn(args, { row, lanes, j, pivot: l[j * n + j] }, sums, errors, losses);
    }
    const target = args.losses;
    for (let lane = 0; lane < lanes; lane++)
      target.data[target.offset + (row + lane) * target.stride] += losses[lane];
  }
}

/** sums[lane] ← Σ_{i<count} errors[i, lane]·l[line + i]. */
function addErrors(
  errors: Float64Array,
  l: Float64Array,
  line: number,
  count: number,
  sums: Float64Array,
): void {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let i = 0, at = 0; i < count; i++, at += LANES) {
    const factor = l[line + i];
    s0 += errors[at] * factor;
    s1 += errors[at + 1] * factor;
    s2 += errors[at + 2] * factor;
    s3 += errors[at + 3] * factor;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

/** Rounds column j of rows [row, row + lanes) to the grid; `sums` holds what earlier errors carry into them. */
function quantizeColumn(
  args: GptqBlockArgs,
  at: { readonly row: number; readonly lanes: number; readonly j: number; readonly pivot: number },
  sums: Float64Array,
  errors: Float64Array,
  losses: Float64Array,
): void {
  const { w, scales, zeros, codes, error } = args;
  const { row, lanes, j, pivot } = at;
  const top = 2 ** args.bits - 1;
  const group = args.groupOf[args.firstColumn + j];
  for (let lane = 0; lane < lanes; lane++) {
    const r = row + lane;
    const original = w.data[w.offset + r * w.stride + j];
    const corrected = original + sums[lane] / pivot;
    const scale = scales.data[scales.offset + r * scales.stride + group];
    const zero = zeros.data[zeros.offset + r * zeros.stride + group];
    let code = corrected / scale + ROUND_MAGIC - ROUND_MAGIC + zero;
    if (code < 0) code = 0;
    if (code > top) code = top;
    const value = scale * (code - zero);
    const miss = pivot * (corrected - value);
    losses[lane] += miss * miss;
    errors[LANES * j + lane] = original - value;
    codes.data[codes.offset + r * codes.stride + j] = code;
    error.data[error.offset + r * error.stride + j] = original - value;
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
