import { roundToF16 } from '../../../src/core/dtype.js';
import { createRng } from '../../../src/core/rng.js';
import type { Bits } from '../../../src/engine/quant.js';
import { choleskyBlock } from '../../../src/cpu/linalg/cholesky-block.js';
import { wholeMatrix } from '../../../src/cpu/matrix.js';
import { nearestCode } from './grids.js';

/** One block of a quantization problem with correlated inputs, float32 where an engine reads it. */
export interface BlockCase {
  readonly rows: number;
  readonly cols: number;
  readonly bits: Bits;
  readonly groups: number;
  readonly firstColumn: number;
  /** [rows, cols]. */
  readonly w: Float32Array;
  /** H [cols, cols] symmetric, damped, and its factor L (lower, H = Lᵀ·L). */
  readonly hessian: Float32Array;
  readonly factor: Float32Array;
  /** [firstColumn + cols]: group of each column in processing order. */
  readonly groupOf: Uint32Array;
  /** [rows, groups]. */
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
}

export interface BlockShape {
  readonly rows: number;
  readonly cols: number;
  readonly bits: Bits;
  readonly groups: number;
  /** Groups as act-order leaves them instead of one after the other. */
  readonly scattered?: boolean;
  /** A column whose input is always 0, so that only damping is on the diagonal. */
  readonly deadColumn?: number;
}

/** Inputs share a few directions, so neighbouring columns are strongly correlated. */
export function makeBlock(shape: BlockShape, seed: number): BlockCase {
  const { rows, cols, bits, groups, scattered = false, deadColumn } = shape;
  const rng = createRng(seed);
  const firstColumn = 4;
  const tokens = 2 * cols + 8;
  const rank = Math.max(1, cols >> 3);
  const mix = Float64Array.from({ length: rank * cols }, () => rng.normal());
  const inputs = Float64Array.from({ length: tokens * cols }, () => 0.3 * rng.normal());
  for (let t = 0; t < tokens; t++)
    for (let r = 0; r < rank; r++) {
      const share = rng.normal();
      for (let j = 0; j < cols; j++) inputs[t * cols + j] += share * mix[r * cols + j];
    }
  if (deadColumn !== undefined) for (let t = 0; t < tokens; t++) inputs[t * cols + deadColumn] = 0;
  const hessian = gram(inputs, tokens, cols);
  const factor = Float64Array.from(hessian);
  if (choleskyBlock(wholeMatrix(factor, cols)) > 0) throw new Error('the test made an H that has no factor');
  const w = Float32Array.from({ length: rows * cols }, () => 0.05 * rng.normal());
  const top = 2 ** bits - 1;
  const groupOf = Uint32Array.from({ length: firstColumn + cols }, (_, k) =>
    scattered ? rng.int(groups) : Math.min(groups - 1, Math.floor((k * groups) / (firstColumn + cols))),
  );
  const zeros = Float32Array.from({ length: rows * groups }, () => Math.floor(top / 2) + rng.int(2));
  const scales = Float32Array.from({ length: rows * groups }, () =>
    roundToF16((0.25 + 0.1 * rng.next()) / top),
  );
  return {
    rows,
    cols,
    bits,
    groups,
    firstColumn,
    w,
    hessian: Float32Array.from(hessian),
    factor: Float32Array.from(factor),
    groupOf,
    scales,
    zeros,
  };
}

/** (2/tokens)·XᵀX with 1 % of its mean diagonal added. */
function gram(inputs: Float64Array, tokens: number, cols: number): Float64Array {
  const h = new Float64Array(cols * cols);
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < cols; i++)
      for (let j = 0; j < cols; j++)
        h[i * cols + j] += (2 / tokens) * inputs[t * cols + i] * inputs[t * cols + j];
  let trace = 0;
  for (let j = 0; j < cols; j++) trace += h[j * cols + j];
  for (let j = 0; j < cols; j++) h[j * cols + j] += (0.01 * trace) / cols;
  return h;
}

export interface BlockResult {
  readonly codes: ArrayLike<number>;
  readonly error: ArrayLike<number>;
}

/** tr(E·H·Eᵀ), the loss that GPTQ and refinement lower. */
export function quadraticLoss(block: BlockCase, error: ArrayLike<number>): number {
  const { rows, cols, hessian } = block;
  let loss = 0;
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < cols; i++)
      for (let j = 0; j < cols; j++)
        loss += error[r * cols + i] * hessian[i * cols + j] * error[r * cols + j];
  return loss;
}

/** Rounds every weight by itself. */
export function roundBlock(block: BlockCase): BlockResult {
  const { rows, cols, bits, w } = block;
  const codes = new Float64Array(rows * cols);
  const error = new Float64Array(rows * cols);
  for (let i = 0; i < rows * cols; i++) {
    const { scale, zero } = gridAt(block, Math.floor(i / cols), i % cols);
    codes[i] = nearestCode(w[i], scale, zero, bits);
    error[i] = w[i] - scale * (codes[i] - zero);
  }
  return { codes, error };
}

export function gridAt(block: BlockCase, row: number, column: number): { scale: number; zero: number } {
  const at = row * block.groups + block.groupOf[block.firstColumn + column];
  return { scale: block.scales[at], zero: block.zeros[at] };
}
