import type { Bits } from '../../engine/quant.js';
import type { ByteMatrix, RealMatrix, Reals } from '../matrix.js';
import { ROUND_MAGIC } from '../rounding.js';

export interface RefineBlockArgs {
  readonly bits: Bits;
  /** [N, G]. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  /** [N, n] original weights. */
  readonly w: RealMatrix;
  /** [N, n]: G = D·H[:, block] on entry; columns to the right of each change follow it. */
  readonly gradient: RealMatrix;
  /** H[block, block], its strict upper triangle. */
  readonly h: RealMatrix;
  /** [K]: diagonal of H; column j is entry firstColumn + j. */
  readonly diagonal: Reals;
  readonly groupOf: Uint32Array;
  readonly firstColumn: number;
  /** [N, n]: D = W − Q, updated. */
  readonly error: RealMatrix;
  readonly codes: ByteMatrix;
}

/**
 * One block of a refinement sweep (quant/README.md section 2, step 9), rows independent: for j in order
 * c = Q_j + G_j/H[j,j]; n = grid(c); δ = n − Q_j; D_j = w_j − n; G_{i>j} −= δ·H[j,i]. Columns with H[j,j] ≤ 0 (or NaN)
 * are left alone. In float64, G rounded to the engine's precision when the block is done.
 */
export function refineBlock(args: RefineBlockArgs): void {
  const { w, gradient, h, diagonal, groupOf, firstColumn, error, codes, scales, zeros } = args;
  const n = w.cols;
  const top = 2 ** args.bits - 1;
  const hessian = new Float64Array(n * n);
  for (let j = 0; j < n; j++)
    for (let i = j + 1; i < n; i++) hessian[j * n + i] = h.data[h.offset + j * h.stride + i];
  const row = new Float64Array(n);
  for (let r = 0; r < w.rows; r++) {
    const gAt = gradient.offset + r * gradient.stride;
    const codeAt = codes.offset + r * codes.stride;
    const eAt = error.offset + r * error.stride;
    const scaleAt = scales.offset + r * scales.stride;
    const zeroAt = zeros.offset + r * zeros.stride;
    for (let j = 0; j < n; j++) row[j] = gradient.data[gAt + j];
    for (let j = 0; j < n; j++) {
      const curvature = diagonal[firstColumn + j];
      if (!(curvature > 0)) continue;
      const group = groupOf[firstColumn + j];
      const scale = scales.data[scaleAt + group];
      const zero = zeros.data[zeroAt + group];
      const before = codes.data[codeAt + j];
      const wanted = scale * (before - zero) + row[j] / curvature;
      const whole = zero + ROUND_MAGIC - ROUND_MAGIC;
      let code = wanted / scale + (zero - whole) + ROUND_MAGIC - ROUND_MAGIC + whole;
      if (code < 0) code = 0;
      if (code > top) code = top;
      if (code === before) continue;
      const delta = scale * (code - before);
      const line = j * n;
      for (let i = j + 1; i < n; i++) row[i] -= delta * hessian[line + i];
      codes.data[codeAt + j] = code;
      error.data[eAt + j] = w.data[w.offset + r * w.stride + j] - scale * (code - zero);
    }
    for (let j = 0; j < n; j++) gradient.data[gAt + j] = row[j];
  }
}
