import { expect, it } from 'vitest';
import { roundToF16 } from '../../../src/core/dtype.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { Bits } from '../../../src/engine/quant.js';
import { describeKernels } from '../kernel-cases.js';
import { LAYOUTS, upload } from '../placed.js';
import type { Layout } from '../placed.js';
import { fitCosts, fitError, fitWeights, inside, uploadFit } from './fitted.js';
import type { FittedGrids } from './fitted.js';

interface Case {
  readonly rows: number;
  readonly groups: number;
  readonly groupSize: number;
  readonly bits: Bits;
  readonly rule: 'signed' | 'min';
  readonly range: 'minmax' | 'mse';
}

const GUARD = 4711.25;

async function run(
  engine: Engine,
  test: Case,
  data: { readonly values: Float32Array; readonly costs: Float32Array | undefined },
  layout: Layout,
): Promise<FittedGrids> {
  const { rows, groups, groupSize, bits, rule, range } = test;
  const fresh = new Float32Array(rows * (groups + 3)).fill(GUARD);
  const scales = upload(engine, 'scales', 'f32', [rows, groups + 3], fresh);
  const zeros = upload(engine, 'zeros', 'f32', [rows, groups + 3], fresh);
  const weights = uploadFit(engine, data.values, { rows, cols: groups * groupSize, layout }, data.costs);
  const options = { bits, groupSize, rule, range, minZero: 1, scales, zeros, firstGroup: 2 } as const;
  engine.groupRange({ ...options, ...weights });
  const own = { before: 2, count: groups, guard: GUARD };
  return { scales: await inside(engine, scales, own), zeros: await inside(engine, zeros, own) };
}

const SHAPES = [
  { rows: 1, groups: 1, groupSize: 16 },
  { rows: 5, groups: 7, groupSize: 32 },
  { rows: 2, groups: 9, groupSize: 100 },
];
const GRIDS = ([3, 4, 5, 8] as const).flatMap((bits) => [
  { bits, rule: 'signed' as const },
  { bits, rule: 'min' as const },
]);

// Plan: the plain rules equal the oracle but for a scale at the border of two float16 values; a fit is as good as the
// oracle's, with costs and without, never worse than the plain rule, and scales and minima are float16 values.
describeKernels('groupRange, signed and min', (pair) => {
  it.each(SHAPES.flatMap((shape) => LAYOUTS.map((layout) => ({ ...shape, layout }))))(
    'minmax: [$rows, $groups × $groupSize], offset $layout.offset',
    async ({ layout, ...shape }) => {
      const values = fitWeights(shape.rows * shape.groups, shape.groupSize, 41);
      for (const grid of GRIDS) {
        const test: Case = { ...shape, ...grid, range: 'minmax' };
        const { engine, oracle } = pair();
        const found = await run(engine, test, { values, costs: undefined }, layout);
        const expected = await run(oracle, test, { values, costs: undefined }, layout);
        found.scales.forEach((scale, i) => {
          expect(roundToF16(scale)).toBe(scale);
          expect(Math.abs(scale / expected.scales[i] - 1)).toBeLessThan(2 ** -10);
          if (scale === expected.scales[i])
            expect(Math.abs(found.zeros[i] - expected.zeros[i])).toBeLessThanOrEqual(
              2 ** -22 * Math.abs(expected.zeros[i]),
            );
        });
      }
    },
  );

  it.each(SHAPES.flatMap((shape) => [false, true].map((weighted) => ({ ...shape, weighted }))))(
    'mse: [$rows, $groups × $groupSize], costs $weighted',
    async ({ weighted, ...shape }) => {
      const values = fitWeights(shape.rows * shape.groups, shape.groupSize, 43);
      const costs = weighted ? fitCosts(shape.groups * shape.groupSize, 44) : undefined;
      let better = 0;
      let others = 0;
      for (const grid of GRIDS) {
        const test: Case = { ...shape, ...grid, range: 'mse' };
        const { engine, oracle } = pair();
        const found = await run(engine, test, { values, costs }, LAYOUTS[1]);
        const expected = await run(oracle, test, { values, costs }, LAYOUTS[1]);
        const plain = await run(oracle, { ...test, range: 'minmax' }, { values, costs }, LAYOUTS[1]);
        const top = 2 ** grid.bits - 1;
        for (let i = 0; i < expected.scales.length; i++) {
          const { groupSize, groups } = shape;
          const own = values.subarray(i * groupSize, (i + 1) * groupSize);
          const first = (i % groups) * groupSize;
          const price = costs?.subarray(first, first + groupSize) ?? new Float32Array(groupSize).fill(1);
          const errorOf = ({ scales, zeros }: FittedGrids): number =>
            fitError(own, price, { scale: scales[i], zero: zeros[i], top });
          expect(roundToF16(found.scales[i])).toBe(found.scales[i]);
          const size = own.reduce((sum, value, k) => sum + price[k] * value * value, 0);
          if (found.scales[i] !== expected.scales[i]) others++;
          // Where trials are equally good to float32 either may win; measured below 2e-3 of the error.
          expect(errorOf(found)).toBeLessThanOrEqual(errorOf(expected) * 1.01 + size * 1e-9);
          if (errorOf(found) < errorOf(plain)) better++;
          expect(errorOf(found)).toBeLessThanOrEqual(errorOf(plain) * 1.05 + size * 1e-6);
        }
      }
      const all = GRIDS.length * shape.rows * shape.groups;
      expect(better).toBeGreaterThan(all * 0.4);
      expect(others).toBeLessThanOrEqual(2 + all / 10);
    },
  );

  it('knows the answers that can be told by hand', async () => {
    const { engine } = pair();
    const base = { rows: 1, groups: 4, groupSize: 16, range: 'minmax' } as const;
    const at = (rest: number, ...head: number[]): number[] =>
      Array.from({ length: 16 }, (_, i) => head[i] ?? rest);
    // The largest is positive, negative, tied (the first wins); nothing at all.
    const values = Float32Array.from([...at(0, 4, -3), ...at(0, 1, -2), ...at(0, -1, 1), ...at(0)]);
    const data = { values, costs: undefined };
    const signed = await run(engine, { ...base, bits: 4, rule: 'signed' }, data, LAYOUTS[0]);
    expect(Array.from(signed.scales)).toEqual([-0.5, 0.25, 0.125, 0.125]);
    expect(Array.from(signed.zeros)).toEqual([8, 8, 8, 8]);
    // 1 … 2.5 and a constant: a range need not hold 0, and value = scale·(code − zero) is the constant for every code.
    const lined = { values: Float32Array.from([...at(1, 2.5), ...at(0.375)]), costs: undefined };
    const min = await run(engine, { ...base, groups: 2, bits: 4, rule: 'min' }, lined, LAYOUTS[0]);
    expect(min.scales[0]).toBe(roundToF16(0.1));
    expect(-min.scales[0] * min.zeros[0]).toBeCloseTo(1, 6);
    expect(Array.from({ length: 16 }, (_, code) => min.scales[1] * (code - min.zeros[1]))).toSatisfy(
      (all: number[]) => all.every((value) => Math.abs(value - 0.375) < 1e-6),
    );
  });
});
