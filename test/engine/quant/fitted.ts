import type { Engine } from '../../../src/engine/engine.js';
import { float32s, place, upload } from '../placed.js';
import type { Layout } from '../placed.js';
import { createRng } from '../../../src/core/rng.js';
import { roundEven } from './grids.js';

/** Grids of a fit on some engine, row-major. */
export interface FittedGrids {
  readonly scales: Float64Array;
  readonly zeros: Float64Array;
}

/** Runs of weights of every kind a fit may meet: ordinary, outliers, one-sided, constant, zero, tiny, huge. */
export function fitWeights(runs: number, size: number, seed: number): Float32Array {
  const rng = createRng(seed);
  return float32s(runs * size, () => rng.normal()).map((value, i) => {
    const kind = Math.floor(i / size) % 9;
    if (kind === 2) return i % size === 3 ? -9 : value;
    if (kind === 3) return 1 + 0.01 * Math.abs(value);
    if (kind === 4) return -Math.abs(value) - 0.5;
    if (kind === 5) return 0;
    if (kind === 6) return 0.375;
    if (kind === 7) return value * 1e-6;
    if (kind === 8) return value * 300;
    return value * 0.05;
  });
}

/** Σ cost·(w − grid(w))² of one run, in float64, the grid written out anew. */
export function fitError(
  values: ArrayLike<number>,
  costs: ArrayLike<number>,
  grid: { readonly scale: number; readonly zero: number; readonly top: number },
): number {
  const { scale, zero, top } = grid;
  return Array.from(values).reduce((sum, value, i) => {
    const code = Math.min(Math.max(roundEven(value / scale + zero), 0), top);
    return sum + costs[i] * (value - scale * (code - zero)) ** 2;
  }, 0);
}

/** Positive costs over three orders of magnitude. */
export function fitCosts(length: number, seed: number): Float32Array {
  const rng = createRng(seed);
  return float32s(length, () => 10 ** (3 * rng.next() - 2));
}

/** The columns [before, before + own) of a tensor whose others must hold `guard`. */
export async function inside(
  engine: Engine,
  tensor: Parameters<Engine['read']>[0],
  own: { readonly before: number; readonly count: number; readonly guard: number },
): Promise<Float64Array> {
  const total = tensor.shape[1];
  const isOwn = (i: number): boolean => i % total >= own.before && i % total < own.before + own.count;
  const data = Array.from(await engine.read(tensor));
  const touched = data.findIndex((value, i) => !isOwn(i) && value !== own.guard);
  if (touched >= 0) throw new Error(`element ${touched} of ${tensor.label} was overwritten`);
  return Float64Array.from(data.filter((_, i) => isOwn(i)));
}

/** Uploads weights at a layout and, where given, costs after `firstColumn` others. */
export function uploadFit(
  engine: Engine,
  values: Float32Array,
  shape: { readonly rows: number; readonly cols: number; readonly layout: Layout },
  costs: Float32Array | undefined,
) {
  const firstColumn = 8;
  const { view } = place(engine, 'w', { ...shape, values });
  if (costs === undefined) return { w: view };
  const padded = Float32Array.from([...new Float32Array(firstColumn).fill(NaN), ...costs]);
  return {
    w: view,
    importance: { costs: upload(engine, 'costs', 'f32', [padded.length], padded), firstColumn },
  };
}
