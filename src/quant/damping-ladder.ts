/** Makes a Hessian factorable: the damping ladder of quant/README.md section 2, step 2. */
import { NumericError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { factorOnce } from './factor.js';
import type { Factor } from './factor.js';
import { dropFactor, liveDiagonal } from './hessian.js';
import type { Hessian } from './hessian.js';
import { naturalDiagonal, processingOrder, reorderHessian } from './order.js';
import { sumReals } from './reals.js';
import type { Reals } from './reals.js';
import type { QuantSpec } from './records.js';

const DAMP_STEP = 0.01;
const MAX_DAMP = 1;
/** Floors tried after damping 1, as shares of the largest diagonal element. */
const FLOOR_SHARES = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1];

/** One try: diag ← max(diag + damp·mean, floor). */
export interface Rung {
  readonly damp: number;
  /** As a share of the largest diagonal element. */
  readonly floorShare?: number;
}

/** Every try in order, from the damping asked for. */
export function dampingRungs(damp: number): Rung[] {
  const rungs: Rung[] = [{ damp }];
  for (let step = 1; damp + step * DAMP_STEP < MAX_DAMP + DAMP_STEP / 2; step++)
    rungs.push({ damp: Number((damp + step * DAMP_STEP).toFixed(12)) });
  const last = rungs[rungs.length - 1].damp;
  return [...rungs, ...FLOOR_SHARES.map((floorShare) => ({ damp: last, floorShare }))];
}

/** No rung made the matrix positive definite. */
export interface FactorFailure {
  readonly kind: 'failure';
  readonly dampTried: readonly number[];
}

/**
 * Puts H into the order that `spec` asks for, damps and factors it; linears that share H and spec share the factor.
 * H itself stays as it was, above the diagonal.
 */
export async function factorHessian(
  engine: Engine,
  hessian: Hessian,
  spec: QuantSpec,
  groupSize: number,
): Promise<Factor | FactorFailure> {
  await reorderHessian(engine, hessian, processingOrder(spec.order, naturalDiagonal(hessian), groupSize));
  if (hessian.factor?.dampTried[0] === spec.damp) return hessian.factor;
  dropFactor(engine, hessian);
  const { size } = hessian.square;
  const blocks = engine.create([size, MAX_BLOCK], 'f32', 'factor diagonal blocks', { zero: true });
  const diagonal = engine.create([size], 'f32', 'damped diagonal');
  try {
    const result = await climb(engine, hessian, spec.damp, { blocks, diagonal });
    if (result.kind === 'factor') hessian.factor = result;
    return result;
  } finally {
    engine.free(diagonal);
    if (hessian.factor === undefined) engine.free(blocks);
  }
}

async function climb(
  engine: Engine,
  hessian: Hessian,
  damp: number,
  memory: { readonly blocks: Factor['diagonalBlocks']; readonly diagonal: Factor['diagonalBlocks'] },
): Promise<Factor | FactorFailure> {
  const live = liveDiagonal(hessian.diagonal);
  const mean = sumReals(live) / live.length;
  const largest = largestOf(live);
  const dampTried: number[] = [];
  for (const rung of dampingRungs(damp)) {
    const shift = rung.damp * mean;
    const floor = rung.floorShare === undefined ? undefined : rung.floorShare * largest;
    if (floor === undefined) dampTried.push(rung.damp);
    engine.write(memory.diagonal, raised(live, shift, floor ?? 0));
    if (!(await factorOnce(engine, hessian.square, memory.diagonal, memory.blocks))) continue;
    return {
      kind: 'factor',
      damp: rung.damp,
      dampTried,
      shift,
      diagonalBlocks: memory.blocks,
      ...(floor === undefined ? {} : { diagonalFloor: floor }),
    };
  }
  return { kind: 'failure', dampTried };
}

function largestOf(values: Reals): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, value);
  return largest;
}

function raised(diagonal: Reals, shift: number, floor: number): Reals {
  return diagonal.map((value) => Math.max(value + shift, floor));
}

/** The error of a layer whose Hessian no rung could make positive definite. */
export function factorError(layer: string, failure: FactorFailure): NumericError {
  const last = failure.dampTried[failure.dampTried.length - 1];
  return new NumericError(
    `the Hessian is not positive definite even with damping ${last} and its diagonal floored at the largest element`,
    {
      layer,
      step: 'cholesky',
      advice:
        'use more or other calibration text, leave this layer in 16-bit, or allow round-to-nearest for it',
    },
  );
}
