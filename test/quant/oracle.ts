/**
 * GPTQ as published, column by column in float64, written for the tests and sharing nothing with src/quant: factor H,
 * invert it, factor the inverse, then correct all later columns of W after each one (Frantar et al. 2022; the order of
 * steps follows the paper's algorithm 1 with a block of one column).
 */
import { roundToF16 } from '../../src/core/dtype.js';
import type { QuantSpec } from '../../src/quant/records.js';
import type { Problem } from './problem.js';

export interface OracleResult {
  /** [N, K] by checkpoint column. */
  readonly codes: Uint8Array;
  /** [N, G]. */
  readonly scales: Float64Array;
  readonly zeros: Float64Array;
  /** [K] by checkpoint column. */
  readonly groupOf: Uint32Array;
  /** order[position] = column. */
  readonly order: readonly number[];
  /** c/s + z before rounding, [N, K] by checkpoint column. */
  readonly unrounded: Float64Array;
  readonly loss: number;
}

type Square = Float64Array[];

export function hessianOf({ inputs, tokens, inFeatures }: Problem): Square {
  const h = Array.from({ length: inFeatures }, () => new Float64Array(inFeatures));
  for (let t = 0; t < tokens; t++) {
    const x = inputs.subarray(t * inFeatures, (t + 1) * inFeatures);
    for (let i = 0; i < inFeatures; i++) {
      if (x[i] === 0) continue;
      for (let j = 0; j < inFeatures; j++) h[i][j] += (2 / tokens) * x[i] * x[j];
    }
  }
  return h;
}

/** tr(D H Dᵀ) for D [N, K] by checkpoint column. */
export function quadraticLoss(h: readonly Float64Array[], d: Float64Array): number {
  const size = h.length;
  let loss = 0;
  for (let row = 0; row < d.length; row += size)
    for (let i = 0; i < size; i++) {
      let dot = 0;
      for (let j = 0; j < size; j++) dot += h[i][j] * d[row + j];
      loss += d[row + i] * dot;
    }
  return loss;
}

/** Lower Cholesky factor: A = C·Cᵀ. */
export function cholesky(a: Square): Square {
  const c = a.map((row) => new Float64Array(row.length));
  for (let j = 0; j < a.length; j++)
    for (let i = j; i < a.length; i++) {
      let sum = a[i][j];
      for (let k = 0; k < j; k++) sum -= c[i][k] * c[j][k];
      c[i][j] = i === j ? Math.sqrt(sum) : sum / c[j][j];
    }
  return c;
}

/** A⁻¹ from its Cholesky factor. */
export function invert(a: Square): Square {
  const c = cholesky(a);
  const size = a.length;
  const lower = a.map((row) => new Float64Array(row.length));
  for (let col = 0; col < size; col++)
    for (let i = col; i < size; i++) {
      let sum = i === col ? 1 : 0;
      for (let k = col; k < i; k++) sum -= c[i][k] * lower[k][col];
      lower[i][col] = sum / c[i][i];
    }
  const inverse = a.map((row) => new Float64Array(row.length));
  for (let i = 0; i < size; i++)
    for (let j = i; j < size; j++) {
      let sum = 0;
      for (let k = j; k < size; k++) sum += lower[k][i] * lower[k][j];
      inverse[i][j] = sum;
      inverse[j][i] = sum;
    }
  return inverse;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

interface Grid {
  readonly scale: number;
  readonly zero: number;
}

function gridFor(values: readonly number[], spec: QuantSpec): Grid {
  let low = Math.min(0, ...values);
  let high = Math.max(0, ...values);
  if (low === 0 && high === 0) [low, high] = [-1, 1];
  if (spec.range === 'minmax') return gridOfRange(low, high, spec);
  let best = gridOfRange(low, high, spec);
  let least = Infinity;
  for (let i = 0; i < 80; i++) {
    const grid = gridOfRange(low * (1 - i / 100), high * (1 - i / 100), spec);
    const error = values.reduce(
      (sum, w) => sum + Math.abs(w - value(grid, codeOf(w, grid, spec).code)) ** 2.4,
      0,
    );
    if (error < least) [least, best] = [error, grid];
  }
  return best;
}

function gridOfRange(low: number, high: number, spec: QuantSpec): Grid {
  const levels = 2 ** spec.bits - 1;
  const half = (x: number): number => Math.max(roundToF16(x), 2 ** -24);
  if (spec.rule === 'symmetric')
    return { scale: half((2 * Math.max(-low, high)) / levels), zero: 2 ** (spec.bits - 1) };
  const scale = half((high - low) / levels);
  const zero = roundHalfEven(-low / scale);
  if (zero < spec.minZero) return { scale: half(high / (levels - spec.minZero)), zero: spec.minZero };
  return { scale, zero: Math.min(zero, levels) };
}

function value(grid: Grid, code: number): number {
  return grid.scale * (code - grid.zero);
}

function codeOf(w: number, grid: Grid, spec: QuantSpec): { code: number; unrounded: number } {
  const unrounded = w / grid.scale + grid.zero;
  const code = roundHalfEven(w / grid.scale) + grid.zero;
  return { code: Math.min(Math.max(code, 0), 2 ** spec.bits - 1), unrounded };
}

function orderOf(h: Square, spec: QuantSpec, groupSize: number): number[] {
  const diagonal = h.map((row, j) => row[j]);
  const columns = diagonal.map((_, j) => j);
  if (spec.order === 'natural') return columns;
  const falling = (indices: number[], key: (i: number) => number): number[] =>
    indices
      .map((i) => ({ i, k: key(i) }))
      .sort((a, b) => b.k - a.k || a.i - b.i)
      .map(({ i }) => i);
  if (spec.order === 'act') return falling(columns, (j) => diagonal[j]);
  const groups = Array.from({ length: diagonal.length / groupSize }, (_, g) => g);
  const membersOf = (g: number): number[] => columns.slice(g * groupSize, (g + 1) * groupSize);
  const mean = (g: number): number => membersOf(g).reduce((sum, j) => sum + diagonal[j], 0) / groupSize;
  return falling(groups, mean).flatMap((g) => falling(membersOf(g), (j) => diagonal[j]));
}

/** Loss, codes and grids of GPTQ, or of round-to-nearest when `spec.method` says so. */
export function oracle(problem: Problem, spec: QuantSpec): OracleResult {
  const { outFeatures, inFeatures: size } = problem;
  const truth = hessianOf(problem);
  const h = truth.map((row) => row.slice());
  const weight = Float64Array.from(problem.weight);
  for (let j = 0; j < size; j++)
    if (h[j][j] === 0) {
      h[j][j] = 1;
      for (let row = 0; row < outFeatures; row++) weight[row * size + j] = 0;
    }
  const mean = h.reduce((sum, row, j) => sum + row[j], 0) / size;
  const groupSize = spec.groupSize === -1 ? size : spec.groupSize;
  const order = orderOf(h, spec, groupSize);
  h.forEach((row, j) => (row[j] += spec.damp * mean));
  const permuted = order.map((i) => Float64Array.from(order, (j) => h[i][j]));
  const upper = spec.method === 'gptq' ? cholesky(invert(permuted)) : undefined;
  return loop(problem, spec, { weight, order, groupSize, upper, truth });
}

interface LoopState {
  readonly weight: Float64Array;
  readonly order: readonly number[];
  readonly groupSize: number;
  /** U transposed: U[i, j] = upper[j][i]; undefined for round-to-nearest. */
  readonly upper: Square | undefined;
  readonly truth: Square;
}

function loop(problem: Problem, spec: QuantSpec, state: LoopState): OracleResult {
  const { outFeatures, inFeatures: size } = problem;
  const { order, groupSize, upper, truth } = state;
  const groups = size / groupSize;
  const dynamic = spec.method === 'gptq' && !spec.staticGroups && groups > 1;
  const groupOf = new Uint32Array(size);
  order.forEach((column, position) => {
    const scattered = dynamic && spec.order === 'act';
    groupOf[column] = Math.floor((scattered ? position : column) / groupSize);
  });
  const codes = new Uint8Array(outFeatures * size);
  const unrounded = new Float64Array(outFeatures * size);
  const d = new Float64Array(outFeatures * size);
  const scales = new Float64Array(outFeatures * groups);
  const zeros = new Float64Array(outFeatures * groups);
  for (let row = 0; row < outFeatures; row++) {
    const original = state.weight.subarray(row * size, (row + 1) * size);
    const w = original.slice();
    const grids = new Map<number, Grid>();
    for (const [position, column] of order.entries()) {
      const group = groupOf[column];
      if (!grids.has(group)) {
        const members = order.filter((other) => groupOf[other] === group);
        const grid = gridFor(
          members.map((other) => (dynamic ? w[other] : original[other])),
          spec,
        );
        grids.set(group, grid);
        scales[row * groups + group] = grid.scale;
        zeros[row * groups + group] = grid.zero;
      }
      const grid = grids.get(group) ?? { scale: 1, zero: 0 };
      const result = codeOf(w[column], grid, spec);
      codes[row * size + column] = result.code;
      unrounded[row * size + column] = result.unrounded;
      const quantized = value(grid, result.code);
      d[row * size + column] = original[column] - quantized;
      if (upper === undefined) continue;
      const error = (w[column] - quantized) / upper[position][position];
      for (let later = position + 1; later < size; later++) w[order[later]] -= error * upper[later][position];
    }
  }
  return { codes, scales, zeros, groupOf, order, unrounded, loss: quadraticLoss(truth, d) };
}
