/**
 * The Hessian of a linear layer's inputs, H = (2/n) XᵀX [K, K] (quant/README.md section 2, step 11). Memory: K²·4 bytes on
 * the engine, which later hold the factor too (square-panels.ts), and a few vectors of K.
 */
import { NumericError } from '../core/errors.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import { colRange, rowRange } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import type { Factor } from './factor.js';
import type { Reals } from './reals.js';
import { createSquarePanels, freeSquarePanels, strips } from './square-panels.js';
import type { SquarePanels } from './square-panels.js';

/** Token rows per gemm call: bounds the float32 error and the size of what an engine may have to stage. */
const MAX_CHUNK_ROWS = 2048;
/** Rows of H per gemm call: what lies left of a strip's diagonal is never computed, triangle-aware engine or not. */
const STRIP_ROWS = 1024;

/** Σ XᵀX while it is being gathered. Only the upper triangle is kept. */
export interface HessianSum {
  readonly square: SquarePanels;
  /** u32 [1]: input rows seen so far that hold a NaN or an infinity. */
  readonly nonFiniteRows: Tensor;
  tokens: number;
}

/** A finished Hessian, in processing order `order`. Owned by whoever called finishHessian; see freeHessian. */
export interface Hessian {
  readonly square: SquarePanels;
  /** Input rows it was made from. */
  readonly tokens: number;
  /** Columns (as the checkpoint numbers them) whose inputs were always zero. */
  readonly dead: readonly number[];
  /** diag(H) undamped, in processing order; dead columns are 0. */
  diagonal: Reals;
  /** order[position] = column; undefined for the natural order. */
  order: Uint32Array | undefined;
  /** The last factor made, for linears that share the input (q, k, v; gate, up). */
  factor: Factor | undefined;
}

/** An empty sum for inputs of `size` columns. */
export function createHessian(engine: Engine, size: number, label: string): HessianSum {
  return {
    square: createSquarePanels(engine, size, `hessian ${label}`),
    nonFiniteRows: engine.create([1], 'u32', `hessian ${label} non-finite rows`, { zero: true }),
    tokens: 0,
  };
}

/** Adds XᵀX for the token rows x [n, K] f32; leave padding out. */
export function accumulateHessian(engine: Engine, sum: HessianSum, x: MatrixView): void {
  const { size } = sum.square;
  engine.countNonFiniteRows({ x, count: sum.nonFiniteRows });
  for (let row = 0; row < x.rows; row += MAX_CHUNK_ROWS) {
    const chunk = rowRange(x, row, Math.min(MAX_CHUNK_ROWS, x.rows - row));
    for (const { start, end, view } of strips(sum.square, [0, size], [0, size], STRIP_ROWS))
      engine.gemm({
        a: colRange(chunk, start, end - start),
        b: colRange(chunk, start, size - start),
        c: colRange(view, start, size - start),
        transA: true,
        beta: 1,
        triangle: { part: 'upper', rowOffset: 0 },
      });
  }
  sum.tokens += x.rows;
}

/**
 * Scales the sum by 2/n and reads its diagonal. The result takes over the sum's memory; on an error the sum is freed.
 * NumericError names `layer` when there were no tokens, when input rows held NaN or infinity (with their number), or
 * when a diagonal element overflowed.
 */
export async function finishHessian(engine: Engine, sum: HessianSum, layer: string): Promise<Hessian> {
  const { square, tokens } = sum;
  try {
    if (tokens === 0)
      throw new NumericError('no calibration tokens reached this layer', {
        layer,
        step: 'hessian',
        advice: 'give more calibration text or use --method rtn',
      });
    for (const { start, view } of strips(square, [0, square.size], [0, square.size]))
      engine.scale({
        x: colRange(view, start, square.size - start),
        factor: 2 / tokens,
        triangle: { part: 'upper', rowOffset: 0 },
      });
    const diagonal = await readDiagonal(engine, square);
    await checkFinite(engine, sum, diagonal, layer);
    engine.free(sum.nonFiniteRows);
    const dead = [...diagonal.keys()].filter((column) => !(diagonal[column] > 0));
    return { square, tokens, dead, diagonal, order: undefined, factor: undefined };
  } catch (error) {
    freeHessianSum(engine, sum);
    throw error;
  }
}

async function readDiagonal(engine: Engine, square: SquarePanels): Promise<Reals> {
  const vector = engine.create([square.size], 'f32', 'hessian diagonal');
  for (const { start, end, view } of strips(square, [0, square.size], [0, square.size]))
    engine.getDiagonal({ from: colRange(view, start, end - start), to: vector, toOffset: start });
  const diagonal = await readReals(engine, vector);
  engine.free(vector);
  return diagonal;
}

async function checkFinite(engine: Engine, sum: HessianSum, diagonal: Reals, layer: string): Promise<void> {
  const count = (await engine.read(sum.nonFiniteRows))[0];
  if (count > 0)
    throw new NumericError(
      `${count} of ${sum.tokens} calibration rows hold NaN or infinity where finite inputs are expected`,
      { layer, step: 'hessian', advice: 'check the checkpoint: earlier layers produce non-finite values' },
    );
  const index = diagonal.findIndex((value) => !Number.isFinite(value));
  if (index >= 0)
    throw new NumericError(`diagonal is ${diagonal[index]}; the squares of the inputs overflow float32`, {
      layer,
      step: 'hessian',
      index,
      advice: 'leave this layer in 16-bit or quantize it with --method rtn',
    });
}

export function freeHessianSum(engine: Engine, sum: HessianSum): void {
  freeSquarePanels(engine, sum.square);
  engine.free(sum.nonFiniteRows);
}

export function freeHessian(engine: Engine, hessian: Hessian): void {
  dropFactor(engine, hessian);
  freeSquarePanels(engine, hessian.square);
}

/** Forgets the cached factor; its lower triangle in the square becomes meaningless. */
export function dropFactor(engine: Engine, hessian: Hessian): void {
  if (hessian.factor !== undefined) engine.free(hessian.factor.diagonalBlocks);
  hessian.factor = undefined;
}

/** H's diagonal as GPTQ uses it: 1 for dead columns (quant/README.md section 2, step 1). */
export function liveDiagonal(diagonal: Reals): Reals {
  return diagonal.map((value) => (value > 0 ? value : 1));
}
