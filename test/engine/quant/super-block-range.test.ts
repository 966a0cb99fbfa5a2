import { expect, it } from 'vitest';
import { roundToF16 } from '../../../src/core/dtype.js';
import type { KQuantType } from '../../../src/core/quantized-linear.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { LAYOUTS, upload } from '../placed.js';
import type { Layout } from '../placed.js';
import { fitCosts, fitError, fitWeights, inside, uploadFit } from './fitted.js';
import type { FittedGrids } from './fitted.js';

const GUARD = 4711.25;
const SUBS = { q4_k: 8, q6_k: 16 } as const;
const TOP = { q4_k: 15, q6_k: 63 } as const;

interface Case {
  readonly type: KQuantType;
  readonly rows: number;
  readonly count: number;
}

async function run(
  engine: Engine,
  { type, rows, count }: Case,
  data: { readonly values: Float32Array; readonly costs: Float32Array | undefined },
  layout: Layout,
): Promise<FittedGrids & { readonly blocks: Float64Array }> {
  const [before, total] = [1, count + 3];
  const fresh = (each: number) => new Float32Array(rows * total * each).fill(GUARD);
  const subs = SUBS[type];
  const scales = upload(engine, 'scales', 'f32', [rows, total * subs], fresh(subs));
  const zeros = upload(engine, 'zeros', 'f32', [rows, total * subs], fresh(subs));
  const blocks = upload(engine, 'blocks', 'f32', [rows, total * 2], fresh(2));
  const weights = uploadFit(engine, data.values, { rows, cols: count * 256, layout }, data.costs);
  engine.superBlockRange({ type, ...weights, scales, zeros, blocks, firstBlock: before });
  const own = (each: number) => ({ before: before * each, count: count * each, guard: GUARD });
  return {
    scales: await inside(engine, scales, own(subs)),
    zeros: await inside(engine, zeros, own(subs)),
    blocks: await inside(engine, blocks, own(2)),
  };
}

/** What the file will hold: float16 steps and whole multiples in range, or a sentence. */
function recordFault(type: KQuantType, grids: Awaited<ReturnType<typeof run>>): string {
  const subs = SUBS[type];
  for (let sub = 0; sub < grids.scales.length; sub++) {
    const block = Math.floor(sub / subs);
    const [d, dmin] = [grids.blocks[2 * block], grids.blocks[2 * block + 1]];
    if (roundToF16(d) !== d || roundToF16(dmin) !== dmin || d === 0) return `steps ${d}, ${dmin}`;
    const multiple = grids.scales[sub] / d;
    const depth = dmin === 0 ? 0 : (grids.zeros[sub] * grids.scales[sub]) / dmin;
    if (type === 'q6_k') {
      if (dmin !== 0 || grids.zeros[sub] !== 32) return `q6_k with minima at ${sub}`;
      if (!Number.isInteger(multiple) || multiple === 0 || multiple < -128 || multiple > 127)
        return `multiple ${multiple} at ${sub}`;
      continue;
    }
    if (!Number.isInteger(multiple) || multiple < 1 || multiple > 63) return `multiple ${multiple} at ${sub}`;
    if (!(Math.abs(depth - Math.round(depth)) < 1e-4) || Math.round(depth) < 0 || Math.round(depth) > 63)
      return `depth ${depth} at ${sub}`;
    if (dmin === 0 && grids.zeros[sub] !== 0) return `zero ${grids.zeros[sub]} without dmin at ${sub}`;
  }
  return '';
}

/** llama.cpp's costs without an importance matrix. */
function ownCosts(type: KQuantType, values: Float32Array): Float32Array {
  const size = 256 / SUBS[type];
  return values.map((value, i) => {
    if (type === 'q6_k') return value * value;
    const first = i - (i % size);
    const squares = values.subarray(first, first + size).reduce((sum, each) => sum + each * each, 0);
    return Math.sqrt(squares / size) + Math.abs(value);
  });
}

/** Error of each super-block; `costs` for every weight. */
function blockErrors(
  type: KQuantType,
  grids: FittedGrids,
  values: Float32Array,
  costs: Float32Array,
): number[] {
  const size = 256 / SUBS[type];
  const errors = new Array<number>(Math.ceil(values.length / 256)).fill(0);
  grids.scales.forEach((scale, sub) => {
    const [first, end] = [sub * size, (sub + 1) * size];
    errors[Math.floor(first / 256)] += fitError(values.subarray(first, end), costs.subarray(first, end), {
      scale,
      zero: grids.zeros[sub],
      top: TOP[type],
    });
  });
  return errors;
}

/**
 * Share of a block's energy. Of a constant sub-block, trials with code 14 and with code 15 are both without error; which
 * float32 prefers decides d for the others. Measured: 2.2e-4, where blocks of normal weights err by 3e-3.
 */
const AMBIGUOUS = 4e-4;

const CASES = (['q4_k', 'q6_k'] as const).flatMap((type) => [
  { type, rows: 1, count: 1 },
  { type, rows: 5, count: 3 },
]);

// Plan: sub-blocks of every kind next to each other; what comes out is a record the file can hold, and as good as the
// oracle's: all together, and each within a half, since where trials for a sub-block without much spread are equally good
// to float32 another one may win and decide d.
describeKernels('superBlockRange', (pair) => {
  it.each(CASES.flatMap((test) => [false, true].map((weighted) => ({ ...test, weighted }))))(
    '$type [$rows, $count × 256], costs $weighted',
    async ({ weighted, ...test }) => {
      const { type, rows, count } = test;
      const size = 256 / SUBS[type];
      // Kinds by sub-block, or whole super-blocks of one kind.
      for (const run_ of [size, 256]) {
        const values = fitWeights((rows * count * 256) / run_, run_, 51);
        const costs = weighted ? fitCosts(count * 256, 52) : undefined;
        const { engine, oracle } = pair();
        const found = await run(engine, test, { values, costs }, LAYOUTS[1]);
        const expected = await run(oracle, test, { values, costs }, LAYOUTS[1]);
        expect(recordFault(type, found)).toBe('');
        expect(recordFault(type, expected)).toBe('');
        const prices =
          costs === undefined ? ownCosts(type, values) : values.map((_, i) => costs[i % costs.length]);
        const mine = blockErrors(type, found, values, prices);
        const theirs = blockErrors(type, expected, values, prices);
        const sums = [0, 0];
        mine.forEach((error, block) => {
          const own = values.subarray(block * 256, (block + 1) * 256);
          const energy = own.reduce((sum, value, i) => sum + prices[block * 256 + i] * value ** 2, 1e-30);
          expect(error).toBeLessThanOrEqual(theirs[block] * 1.5 + energy * AMBIGUOUS);
          sums[0] += error / energy;
          sums[1] += theirs[block] / energy;
        });
        expect(sums[0]).toBeLessThanOrEqual(sums[1] * 1.02 + mine.length * AMBIGUOUS);
      }
    },
  );

  it('q4_k: as good as llama.cpp on the block of formats.md 5.6, q6_k on that of 5.7', async () => {
    const { engine } = pair();
    const values = Float32Array.from({ length: 256 }, (_, i) => (((37 * i) % 101) - 50) / 32);
    const data = { values, costs: undefined };
    const own = await run(engine, { type: 'q4_k', rows: 1, count: 1 }, data, LAYOUTS[0]);
    const sc = [62, 63, 63, 60, 63, 60, 63, 62];
    const m = [63, 61, 62, 62, 60, 61, 63, 63];
    const [d, dmin] = [roundToF16(0.003353), roundToF16(0.02411)];
    const scales = Float64Array.from(sc, (multiple) => d * multiple);
    const zeros = Float64Array.from(m, (depth, i) => (dmin * depth) / scales[i]);
    const [ours] = blockErrors('q4_k', own, values, ownCosts('q4_k', values));
    const [theirs] = blockErrors('q4_k', { scales, zeros }, values, ownCosts('q4_k', values));
    // On this block 0.6 % above; over 256 blocks of normal weights 2.5 % below llama.cpp's (q6_k 1.6 %).
    expect(ours).toBeLessThanOrEqual(theirs * 1.01);
    const six = await run(engine, { type: 'q6_k', rows: 1, count: 1 }, data, LAYOUTS[0]);
    // The multiples that 5.7 gives, those of the first four sub-blocks.
    const step = roundToF16(-0.000394);
    const known = Float64Array.from([-128, 127, -119, 122], (multiple) => multiple * step);
    const errorOf = (first: Float64Array): number =>
      blockErrors(
        'q6_k',
        { scales: first, zeros: first.map(() => 32) },
        values.subarray(0, 64),
        ownCosts('q6_k', values),
      )[0];
    expect(errorOf(six.scales.subarray(0, 4))).toBeLessThanOrEqual(errorOf(known));
  });
});
