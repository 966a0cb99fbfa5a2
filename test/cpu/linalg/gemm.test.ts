import { describe, expect, it } from 'vitest';
import type { Triangle } from '../../../src/engine/linalg.js';
import { CPU_CASES } from '../engines.js';
import {
  expectTable,
  multiplyTables,
  randomTable,
  readTable,
  stridedView,
  transposeTable,
} from '../strided.js';
import type { Table } from '../strided.js';

const SIZES = [
  [1, 1, 1],
  [3, 5, 2],
  [4, 64, 64],
  [65, 7, 131],
  [130, 33, 67],
  [70, 30, 1300],
] as const;
const FORMS = ['NN', 'NT', 'TN'] as const;

function keeps(triangle: Triangle | undefined, row: number, col: number): boolean {
  if (triangle === undefined) return true;
  const diagonal = row + triangle.rowOffset;
  return triangle.part === 'upper' ? diagonal <= col : diagonal >= col;
}

/** alpha·product + beta·old where the triangle lets through, old elsewhere. */
function expected(
  product: Table,
  old: Table,
  options: { alpha: number; beta: 0 | 1; triangle?: Triangle },
): Table {
  const { alpha, beta, triangle } = options;
  return old.map((row, i) =>
    row.map((value, j) => (keeps(triangle, i, j) ? alpha * product[i][j] + (beta === 1 ? value : 0) : value)),
  );
}

// Plan: every transposition, alpha, beta and triangle on ragged strided views equals the sum written out in float64;
// guards beside the views stay. Error bound: K terms of magnitude ≤ 1.
describe.each(CPU_CASES)('gemm · $name', ({ make, unit }) => {
  it.each(SIZES)('%i × %i × %i in every form', async (m, k, n) => {
    const engine = await make();
    const a = randomTable(m, k, 1);
    const b = randomTable(k, n, 2);
    const old = randomTable(m, n, 3);
    const product = multiplyTables(a, b);
    const triangles: (Triangle | undefined)[] = [
      undefined,
      { part: 'upper', rowOffset: 0 },
      { part: 'lower', rowOffset: 0 },
      { part: 'upper', rowOffset: -Math.ceil(m / 2) },
      { part: 'lower', rowOffset: Math.ceil(n / 3) },
    ];
    for (const form of FORMS)
      for (const [alpha, beta] of [
        [1, 0],
        [-1, 1],
        [0.375, 1],
        [0.375, 0],
      ] as const)
        for (const triangle of triangles) {
          const c = stridedView(engine, old);
          const options = { alpha, beta, ...(triangle === undefined ? {} : { triangle }) };
          engine.gemm({
            a: stridedView(engine, form === 'TN' ? transposeTable(a) : a),
            b: stridedView(engine, form === 'NT' ? transposeTable(b) : b),
            c,
            transA: form === 'TN',
            transB: form === 'NT',
            ...options,
          });
          expectTable(await readTable(engine, c), expected(product, old, options), 4 * (k + 1) * unit);
        }
    await engine.dispose();
  });

  it('ignores old values of c with beta 0, even NaN, and multiplies whole tensors', async () => {
    const engine = await make();
    const a = randomTable(37, 41, 4);
    const b = randomTable(41, 29, 5);
    const flat = (table: Table, rows: number, cols: number) => ({
      tensor: engine.upload(Float32Array.from(table.flat()), [rows, cols], 'f32', 'flat'),
      rows,
      cols,
      offset: 0,
      stride: cols,
    });
    const c = flat(
      randomTable(37, 29, 6).map((row) => row.map(() => NaN)),
      37,
      29,
    );
    engine.gemm({ a: flat(a, 37, 41), b: flat(b, 41, 29), c });
    expectTable(await readTable(engine, c), multiplyTables(a, b), 4 * 42 * unit);
    await engine.dispose();
  });

  it('names every mismatch of the shapes at the call', async () => {
    const engine = await make();
    const view = (rows: number, cols: number) => stridedView(engine, randomTable(rows, cols, 1), 'x');
    expect(() => engine.gemm({ a: view(2, 3), b: view(4, 5), c: view(2, 6) })).toThrow(
      /columns of c .*: 6, expected 5; inner dimension of b: 4, expected 3/,
    );
    await engine.dispose();
  });
});
