import { describe, expect, it } from 'vitest';
import { CPU_CASES } from '../engines.js';
import {
  expectTable,
  multiplyTables,
  randomHessian,
  randomTable,
  readTable,
  stridedView,
  transposeTable,
} from '../strided.js';
import type { Table } from '../strided.js';

const lower = (table: Table): Table => table.map((row, i) => row.map((value, j) => (j <= i ? value : 0)));

// Plan: L from choleskyBlock gives H back as Lᵀ·L and leaves the strict upper triangle alone; both solves undo the
// product with L. Bounds: H and L have entries of order 1 and a condition number of about 500.
describe.each(CPU_CASES)('factor and solve · $name', ({ make, unit }) => {
  it.each([1, 2, 17, 64, 127, 128])('H = Lᵀ·L and back for size %i', async (size) => {
    const engine = await make();
    const h = randomHessian(size, size);
    const block = stridedView(engine, h);
    const failures = engine.create([1], 'u32', 'failures', { zero: true });
    engine.choleskyBlock({ block, failures });
    const factored = await readTable(engine, block);
    const l = lower(factored);
    expectTable(multiplyTables(transposeTable(l), l), h, 40 * size * unit);
    factored.forEach((row, i) => expect(row.slice(i + 1)).toEqual(h[i].slice(i + 1)));
    expect(await engine.read(failures)).toEqual(new Uint32Array([0]));

    const truth = randomTable(size, 203, 7);
    const left = stridedView(engine, multiplyTables(transposeTable(l), truth));
    engine.solveLeft({ l: block, x: left });
    expectTable(await readTable(engine, left), truth, 3000 * (size + 8) * unit);

    const right = stridedView(engine, multiplyTables(transposeTable(truth), transposeTable(l)));
    engine.solveRight({ l: block, x: right });
    expectTable(await readTable(engine, right), transposeTable(truth), 3000 * (size + 8) * unit);
    await engine.dispose();
  });

  it('counts bad pivots and stays finite', async () => {
    const engine = await make();
    const failures = engine.create([1], 'u32', 'failures', { zero: true });
    const h = [
      [1, 0, 0],
      [0.5, -1, 0],
      [0, 0, 2],
    ];
    for (const corner of [h[1][1], NaN, Infinity, 0]) {
      const block = stridedView(engine, [h[0], [0.5, corner, 0], h[2]]);
      engine.choleskyBlock({ block, failures });
      const l = await readTable(engine, block);
      expect(l.flat().every(Number.isFinite)).toBe(true);
      expect(l[1][1]).toBe(1);
    }
    expect(await engine.read(failures)).toEqual(new Uint32Array([4]));
    await engine.dispose();
  });

  it('refuses blocks above the limit', async () => {
    const engine = await make();
    const failures = engine.create([1], 'u32', 'failures', { zero: true });
    const block = stridedView(engine, randomTable(129, 129, 1));
    expect(() => engine.choleskyBlock({ block, failures })).toThrow('block size: 129, at most 128');
    await engine.dispose();
  });
});
