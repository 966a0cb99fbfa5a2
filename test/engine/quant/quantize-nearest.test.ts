import { expect, it } from 'vitest';
import { roundToF16 } from '../../../src/core/dtype.js';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, float32s, LAYOUTS, place, upload, WORDS, WHOLE } from '../placed.js';
import { ALL_BITS, compareCodes, nearestCode, roundEven } from './grids.js';

// Plan: codes are decided by exact remainders, so they are equal bit for bit on every adapter: also at exact halves,
// next to them, and far outside the grid. Groups out of order, as act-order leaves them.
const SHAPES = [
  { rows: 1, cols: 4, groups: 1 },
  { rows: 7, cols: 52, groups: 3 },
  { rows: 65, cols: 128, groups: 9 },
];

describeKernels('quantizeNearest', (pair) => {
  it.each(SHAPES.flatMap((shape) => ALL_BITS.map((bits) => ({ ...shape, bits }))))(
    '[$rows, $cols], $groups groups, $bits bits',
    async ({ rows, cols, groups, bits }) => {
      const rng = createRng(bits);
      const firstColumn = 8;
      const groupOf = Array.from({ length: firstColumn + cols + 4 }, () => rng.int(groups));
      const scales = float32s(rows * groups, () => roundToF16(0.01 + rng.next()));
      const zeros = float32s(rows * groups, () => rng.int(2 ** bits));
      const scaleOf = (i: number): number =>
        scales[Math.floor(i / cols) * groups + groupOf[firstColumn + (i % cols)]];
      const zeroOf = (i: number): number =>
        zeros[Math.floor(i / cols) * groups + groupOf[firstColumn + (i % cols)]];
      const w = Float32Array.from({ length: rows * cols }, (_, i) => {
        const steps = rng.int(2 ** bits + 6) - 3 - zeroOf(i);
        if (i % 5 === 0) return scaleOf(i) * (steps + 0.5);
        if (i % 5 === 1) return Math.fround(scaleOf(i) * (steps + 0.5)) * (1 + (i % 2 ? 1 : -1) * 2 ** -23);
        if (i % 50 === 2) return 1e30 * (rng.next() - 0.5);
        return scaleOf(i) * (steps + rng.normal());
      });
      for (const layout of LAYOUTS) {
        const run = async (engine: Engine): Promise<[Float64Array, Float64Array]> => {
          const error = place(engine, 'error', { rows, cols, layout });
          const codes = place(engine, 'codes', {
            rows,
            cols,
            dtype: 'u8',
            layout: layout === WHOLE ? WHOLE : WORDS,
          });
          engine.quantizeNearest({
            bits,
            scales: upload(engine, 'scales', 'f32', [rows, groups], scales),
            zeros: upload(engine, 'zeros', 'f32', [rows, groups], zeros),
            w: place(engine, 'w', { rows, cols, values: w, layout }).view,
            groupOf: upload(engine, 'groupOf', 'u32', [groupOf.length], groupOf),
            firstColumn,
            codes: codes.view,
            error: error.view,
          });
          return [await codes.take(), await error.take()];
        };
        const { engine, oracle } = pair();
        const [codes, error] = await run(engine);
        const [expectedCodes, expectedError] = await run(oracle);
        expect(firstMismatch(codes, expectedCodes)).toBe(-1);
        const naive = Float64Array.from(w, (value, i) => nearestCode(value, scaleOf(i), zeroOf(i), bits));
        expect(firstMismatch(codes, naive)).toBe(-1);
        // One subtraction of an exact product, rounded once.
        expect(firstMismatch(error, expectedError.map(Math.fround))).toBe(-1);
      }
    },
  );

  it('real zeros and scales of either sign: codes equal but at a boundary, errors those of the codes', async () => {
    const [rows, cols, groups, bits] = [33, 128, 8, 4] as const;
    const rng = createRng(5);
    const groupOf = Array.from({ length: cols }, (_, j) => Math.floor(j / 16));
    const scales = float32s(rows * groups, () => (rng.next() < 0.5 ? -1 : 1) * (0.01 + rng.next()));
    // Some grids lie far from 0, as groups with a minimum do.
    const zeros = float32s(rows * groups, () => rng.normal() * (rng.int(4) === 0 ? 2000 : 12));
    const at = (i: number): number => Math.floor(i / cols) * groups + groupOf[i % cols];
    const w = float32s(rows * cols, () => 0).map(
      (_, i) => scales[at(i)] * (rng.next() * 2 ** bits + 2 * rng.normal() - zeros[at(i)]),
    );
    const run = async (engine: Engine): Promise<[Float64Array, Float64Array]> => {
      const error = place(engine, 'error', { rows, cols });
      const codes = place(engine, 'codes', { rows, cols, dtype: 'u8' });
      engine.quantizeNearest({
        bits,
        scales: upload(engine, 'scales', 'f32', [rows, groups], scales),
        zeros: upload(engine, 'zeros', 'f32', [rows, groups], zeros),
        w: place(engine, 'w', { rows, cols, values: w }).view,
        groupOf: upload(engine, 'groupOf', 'u32', [cols], groupOf),
        firstColumn: 0,
        codes: codes.view,
        error: error.view,
      });
      return [await codes.take(), await error.take()];
    };
    const { engine, oracle } = pair();
    const [codes, error] = await run(engine);
    const [expected] = await run(oracle);
    const unrounded = Float64Array.from(w, (value, i) => value / scales[at(i)] + zeros[at(i)]);
    const naive = unrounded.map((value) => Math.min(Math.max(roundEven(value), 0), 2 ** bits - 1));
    expect(compareCodes(expected, naive, unrounded, 1e-9).wrong).toBe(0);
    // Quotients up to 6,000 steps have 2⁻¹¹ steps of noise in float32. Measured: boundary 3 of 4,224 on lavapipe.
    const { boundary, wrong } = compareCodes(codes, expected, unrounded, 2e-3);
    expect(wrong).toBe(0);
    expect(boundary).toBeLessThan(40);
    error.forEach((miss, i) => {
      const exact = w[i] - scales[at(i)] * (codes[i] - zeros[at(i)]);
      expect(Math.abs(miss - exact)).toBeLessThanOrEqual(
        2 ** -21 * (Math.abs(w[i]) + Math.abs(scales[at(i)]) * 16),
      );
    });
  });
});
