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

/** Rows done together: the chain from one column to the next is long, so independent rows fill the processor's waits. */
const LANES = 4;

/**
 * GPTQ's column loop inside one block (quant/README.md section 2, steps 5 and 6), rows independent, in float64:
 * c_j = w_j + (T_j + Σ_{i<j} E_i·L[j,i]) / L[j,j]; Q_j = grid(c_j); E_j = w_j − Q_j.
 */
export function gptqBlock(args: GptqBlockArgs): void {
  const n = args.w.cols;
  const shared: BlockScratch = {
    l: lowerTriangle(args.l),
    groups: args.groupOf.slice(args.firstColumn, args.firstColumn + n),
    errors: new Float64Array(LANES * n),
    sums: new Float64Array(LANES),
    losses: new Float64Array(LANES),
  };
  for (let row = 0; row < args.w.rows; row += LANES)
    gptqRows(args, row, Math.min(LANES, args.w.rows - row), shared);
}

/** What the rows of a block share. */
interface BlockScratch {
  /** [n, n]. */
  readonly l: Float64Array;
  /** Group of each column. */
  readonly groups: Uint32Array;
  /** Errors of the current rows, interleaved: row r + lane and column i at LANES·i + lane. */
  readonly errors: Float64Array;
  readonly sums: Float64Array;
  readonly losses: Float64Array;
}

/** Rows [row, row + lanes). Everything the loops touch is a local, which is worth a factor of two. */
function gptqRows(args: GptqBlockArgs, row: number, lanes: number, shared: BlockScratch): void {
  const { w, carried, error, codes, scales, zeros } = args;
  const [wData, tData, eData, qData] = [w.data, carried.data, error.data, codes.data];
  const [sData, zData] = [scales.data, zeros.data];
  const [wStride, tStride, eStride, qStride] = [w.stride, carried.stride, error.stride, codes.stride];
  const [sStride, zStride] = [scales.stride, zeros.stride];
  const wAt = w.offset + row * wStride;
  const tAt = carried.offset + row * tStride;
  const eAt = error.offset + row * eStride;
  const qAt = codes.offset + row * qStride;
  const sAt = scales.offset + row * sStride;
  const zAt = zeros.offset + row * zStride;
  const { l, groups, errors, sums, losses } = shared;
  const n = groups.length;
  const top = 2 ** args.bits - 1;
  losses.fill(0);
  for (let j = 0, line = 0; j < n; j++, line += n) {
    addErrors(errors, l, line, j, sums);
    const pivot = l[line + j];
    const group = groups[j];
    for (let lane = 0; lane < lanes; lane++) {
      const original = wData[wAt + lane * wStride + j];
      const corrected = original + (tData[tAt + lane * tStride + j] + sums[lane]) / pivot;
      const scale = sData[sAt + lane * sStride + group];
      const zero = zData[zAt + lane * zStride + group];
      const whole = zero + ROUND_MAGIC - ROUND_MAGIC;
      const rounded = corrected / scale + (zero - whole) + ROUND_MAGIC - ROUND_MAGIC + whole;
      const code = rounded < 0 ? 0 : rounded > top ? top : rounded;
      const value = scale * (code - zero);
      const miss = pivot * (corrected - value);
      losses[lane] += miss * miss;
      errors[LANES * j + lane] = original - value;
      eData[eAt + lane * eStride + j] = original - value;
      qData[qAt + lane * qStride + j] = code;
    }
  }
  const target = args.losses;
  for (let lane = 0; lane < lanes; lane++)
    target.data[target.offset + (row + lane) * target.stride] += losses[lane];
}

/** sums[lane] ← Σ_{i<count} errors[i, lane]·l[line + i]; each element of L serves four rows. */
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

/** The lower triangle as contiguous float64 rows [n, n]; the rest is zero. */
function lowerTriangle(l: RealMatrix): Float64Array {
  const n = l.rows;
  const packed = new Float64Array(n * n);
  for (let j = 0; j < n; j++)
    for (let i = 0; i <= j; i++) packed[j * n + i] = l.data[l.offset + j * l.stride + i];
  return packed;
}
