import { createRng } from '../../src/core/rng.js';
import { readReals } from '../../src/engine/engine.js';
import type { Engine } from '../../src/engine/engine.js';
import type { MatrixView } from '../../src/engine/tensor.js';

/** A matrix as plain numbers, for formulas written out in the tests. */
export type Table = number[][];

const GUARD = 12345.5;
/** Elements before the view, and beside each of its rows. */
const BEFORE = 7;
const BESIDE = 5;

/** Values in (−1, 1) that float32 holds exactly. */
export function randomTable(rows: number, cols: number, seed: number): Table {
  const rng = createRng(seed);
  return Array.from({ length: rows }, () =>
    Array.from({ length: cols }, () => Math.fround(rng.next() * 2 - 1)),
  );
}

/** An f32 view with guard values around every row, so that a write outside the view shows. */
export function stridedView(engine: Engine, table: Table, label = 'strided'): MatrixView {
  const rows = table.length;
  const cols = table[0].length;
  const stride = cols + BESIDE;
  const data = new Float64Array(BEFORE + rows * stride).fill(GUARD);
  table.forEach((row, i) => data.set(row, BEFORE + i * stride));
  const tensor = engine.upload(data, [data.length], 'f32', label);
  return { tensor, rows, cols, offset: BEFORE, stride };
}

/** The view's values; throws when a guard around it changed. */
export async function readTable(engine: Engine, view: MatrixView): Promise<Table> {
  const data = await readReals(engine, view.tensor);
  const table = Array.from({ length: view.rows }, (_, i) => {
    const start = view.offset + i * view.stride;
    return Array.from(data.subarray(start, start + view.cols));
  });
  const outside = data.slice();
  for (let i = 0; i < view.rows; i++)
    outside.fill(GUARD, view.offset + i * view.stride, view.offset + i * view.stride + view.cols);
  const broken = outside.findIndex((value) => value !== GUARD);
  if (broken >= 0)
    throw new Error(`element ${broken} beside ${view.tensor.label} was overwritten with ${outside[broken]}`);
  return table;
}

/** Throws unless every element is within `bound` of the expected one; NaN and wrong sizes never pass. */
export function expectTable(actual: Table, expected: Table, bound: number): void {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} rows, expected ${expected.length}`);
  actual.forEach((row, i) => {
    if (row.length !== expected[i].length)
      throw new Error(`row ${i} has ${row.length} columns, expected ${expected[i].length}`);
    row.forEach((value, j) => {
      if (!(Math.abs(value - expected[i][j]) <= bound))
        throw new Error(`[${i}, ${j}] is ${value}, expected ${expected[i][j]} within ${bound}`);
    });
  });
}

/** a·b in float64. */
export function multiplyTables(a: Table, b: Table): Table {
  return a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));
}

export function transposeTable(a: Table): Table {
  return a[0].map((_, j) => a.map((row) => row[j]));
}

/** AᵀA/n plus a little of the identity: a Hessian with correlated columns. */
export function randomHessian(size: number, seed: number): Table {
  const x = randomTable(2 * size, size, seed).map((row) => row.map((value, j) => value + (row[j - 1] ?? 0)));
  return multiplyTables(transposeTable(x), x).map((row, i) =>
    row.map((value, j) => Math.fround(value / (2 * size) + (i === j ? 0.01 : 0))),
  );
}
