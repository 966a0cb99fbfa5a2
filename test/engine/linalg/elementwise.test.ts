import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { f32ToBf16, f32ToF16 } from '../../../src/core/dtype.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { MatrixView } from '../../../src/engine/tensor.js';
import { expectMatch, type Bound } from '../../helpers/compare.js';
import { describeEngines, openOracle } from '../../helpers/engines.js';
import { Guarded, PLACES, randomReals } from '../../helpers/guarded.js';

const SIZES: [number, number][] = [
  [1, 1],
  [1, 257],
  [31, 33],
  [32, 32],
  [67, 5],
  [40, 300],
];

const TRIANGLES = [
  undefined,
  { part: 'upper', rowOffset: 0 },
  { part: 'lower', rowOffset: 3 },
  { part: 'lower', rowOffset: -1 },
] as const;

describeEngines('moving and scaling', (make) => {
  let engine: Engine;
  let oracle: Engine;
  beforeAll(async () => {
    [engine, oracle] = [await make(), await openOracle()];
  });
  afterAll(() => Promise.all([engine.dispose(), oracle.dispose()]));

  const check = async (
    bound: Bound,
    body: (target: Engine, guarded: Guarded) => MatrixView,
  ): Promise<void> => {
    const results = [];
    for (const target of [engine, oracle]) {
      const guarded = new Guarded(target);
      const view = body(target, guarded);
      results.push(await guarded.read(view));
      guarded.free();
    }
    expectMatch(results[0], results[1], bound);
  };

  describe.each(SIZES)('%i × %i', (rows, cols) => {
    const data = randomReals(rows * cols, 11);

    it('transposes, whole and by triangle', async () => {
      for (const place of PLACES)
        for (const triangle of TRIANGLES)
          await check({ exact: true }, (target, guarded) => {
            const from = guarded.put(data, rows, cols, { place });
            const to = guarded.blank(cols, rows, { place });
            target.transpose({ from, to, ...(triangle === undefined ? {} : { triangle }) });
            return to;
          });
    });

    it('scales rows and columns by factors of their own', async () => {
      for (const place of PLACES)
        for (const axis of ['rows', 'columns'] as const)
          await check({ nmse: 1e-13 }, (target, guarded) => {
            const x = guarded.put(data, rows, cols, { place });
            const count = axis === 'rows' ? rows : cols;
            const factors = guarded.put(randomReals(count, 7), 1, count);
            target.scaleLines({ x, factors: factors.tensor, axis });
            return x;
          });
    });

    it('scales, whole and by triangle', async () => {
      for (const place of PLACES)
        for (const triangle of TRIANGLES)
          await check({ ulp: 1 }, (target, guarded) => {
            const x = guarded.put(data, rows, cols, { place });
            target.scale({ x, factor: 1 / 3, ...(triangle === undefined ? {} : { triangle }) });
            return x;
          });
    });

    it('reads and writes the diagonal', async () => {
      const n = Math.min(rows, cols);
      for (const place of PLACES) {
        await check({ exact: true }, (target, guarded) => {
          const from = guarded.put(data, n, n, { place });
          const to = guarded.blank(1, n, { place });
          target.getDiagonal({ from, to: to.tensor, toOffset: to.offset });
          return to;
        });
        await check({ exact: true }, (target, guarded) => {
          const line = guarded.put(data, 1, n, { place });
          const to = guarded.put(data, n, n, { place });
          target.setDiagonal({ from: line.tensor, fromOffset: line.offset, to });
          return to;
        });
      }
    });

    it('adds the dot products of rows', async () => {
      const other = randomReals(rows * cols, 12);
      // Largest NMSE seen: 7.4e-15 (lavapipe, 300 columns).
      for (const place of PLACES)
        await check({ nmse: 1e-12 }, (target, guarded) => {
          const x = guarded.put(data, rows, cols, { place });
          const y = guarded.put(other, rows, cols, { place });
          const to = guarded.put(randomReals(rows, 13, 10), 1, rows);
          target.addRowDots({ x, y, to: to.tensor });
          target.addRowDots({ x, y: x, to: to.tensor });
          return to;
        });
    });

    it('copies every dtype exactly', async () => {
      for (const place of PLACES) {
        await check({ exact: true }, (target, guarded) => {
          const to = guarded.blank(rows, cols, { place });
          target.copy({ from: guarded.put(data, rows, cols, { place }), to });
          return to;
        });
        await check({ exact: true }, (target, guarded) => {
          const to = guarded.blank(rows, cols, { place });
          target.copy({ from: guarded.put(data.map(f32ToF16), rows, cols, { place, dtype: 'f16' }), to });
          return to;
        });
        await check({ exact: true }, (target, guarded) => {
          const to = guarded.blank(rows, cols, { place });
          target.copy({ from: guarded.put(data.map(f32ToBf16), rows, cols, { place, dtype: 'bf16' }), to });
          return to;
        });
      }
    });
  });

  it('converts every float16 exactly', async () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i).filter(
      (b) => (b & 0x7c00) !== 0x7c00 || (b & 0x3ff) === 0,
    );
    await check({ exact: true }, (target, guarded) => {
      const to = guarded.blank(1, bits.length);
      target.copy({ from: guarded.put(bits, 1, bits.length, { dtype: 'f16' }), to });
      return to;
    });
  });

  it('mirrors an upper triangle into the lower one in place', async () => {
    await check({ exact: true }, (target, guarded) => {
      const square = guarded.put(randomReals(70 * 70, 14), 70, 70, { place: 'odd' });
      target.transpose({ from: square, to: square, triangle: { part: 'lower', rowOffset: -1 } });
      return square;
    });
  });

  it('copies inside one tensor', async () => {
    await check({ exact: true }, (target, guarded) => {
      const square = guarded.put(randomReals(900, 15), 30, 30);
      target.copy({
        from: { ...square, rows: 5, cols: 7 },
        to: { ...square, rows: 5, cols: 7, offset: 333 },
      });
      return square;
    });
  });

  it('counts rows with NaN or infinity', async () => {
    for (const place of PLACES) {
      const guarded = new Guarded(engine);
      const data = randomReals(9 * 300, 16);
      data[0] = NaN;
      data[1] = NaN;
      data[3 * 300 + 299] = Infinity;
      data[8 * 300 + 150] = -Infinity;
      data[5 * 300] = 3.4e38;
      const count = guarded.put([4], 1, 1, { dtype: 'u32' });
      engine.countNonFiniteRows({ x: guarded.put(data, 9, 300, { place }), count: count.tensor });
      expect([...(await guarded.read(count))]).toEqual([7]);
      guarded.free();
    }
  });
});
