import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, nmse, place, STRIDED, upload, WHOLE, WORDS, type Layout } from '../placed.js';
import {
  gridAt,
  makeBlock,
  quadraticLoss,
  roundBlock,
  type BlockCase,
  type BlockShape,
} from './block-case.js';
import { compareCodes, nearestCode } from './grids.js';

/**
 * How far, in code steps, float32 may move an unrounded value: sums of 128 products at 6e-8 each, a value of some 8
 * steps. Rows are judged up to the first code that a boundary flipped, since all after it follow from it.
 */
const REACH = 1e-4;

// Plan: one column group and many, blocks that are no multiple of a lane count, act-order's scattered groups, a dead
// column, carried errors from earlier blocks, losses that add up.
const CASES: readonly (BlockShape & { readonly carries: boolean })[] = [
  { rows: 1, cols: 4, bits: 4, groups: 1, carries: false },
  { rows: 9, cols: 36, bits: 4, groups: 3, carries: true },
  { rows: 70, cols: 128, bits: 4, groups: 4, carries: true, deadColumn: 50 },
  { rows: 33, cols: 64, bits: 3, groups: 5, carries: true, scattered: true },
  { rows: 65, cols: 100, bits: 2, groups: 1, carries: false },
  { rows: 8, cols: 128, bits: 8, groups: 2, carries: true, deadColumn: 0 },
];

interface Found {
  readonly codes: Float64Array;
  readonly error: Float64Array;
  readonly losses: ArrayLike<number>;
}

async function run(engine: Engine, block: BlockCase, carried: Float32Array, layout: Layout): Promise<Found> {
  const { rows, cols, bits, groups, firstColumn } = block;
  const error = place(engine, 'error', { rows, cols, layout });
  const codes = place(engine, 'codes', { rows, cols, dtype: 'u8', layout: layout === WHOLE ? WHOLE : WORDS });
  const losses = upload(engine, 'losses', 'f32', [rows], new Float32Array(rows).fill(3));
  // The upper triangle of L must not be read.
  const l = block.factor.map((value, i) => (i % cols > Math.floor(i / cols) ? NaN : value));
  engine.gptqBlock({
    bits,
    scales: upload(engine, 'scales', 'f32', [rows, groups], block.scales),
    zeros: upload(engine, 'zeros', 'f32', [rows, groups], block.zeros),
    w: place(engine, 'w', { rows, cols, values: block.w, layout }).view,
    carried: place(engine, 'carried', { rows, cols, values: carried, layout }).view,
    l: place(engine, 'l', { rows: cols, cols, values: l, layout }).view,
    groupOf: upload(engine, 'groupOf', 'u32', [block.groupOf.length], block.groupOf),
    firstColumn,
    error: error.view,
    codes: codes.view,
    losses,
  });
  return { codes: await codes.take(), error: await error.take(), losses: await engine.read(losses) };
}

/**
 * The recurrence column by column over the whole matrix in float64, with codes[r, j] forced where `forced` is given;
 * `unrounded` is c/s + z before rounding.
 */
function naive(block: BlockCase, carried: Float32Array, forced?: Float64Array) {
  const { rows, cols, bits, w, factor } = block;
  const codes = new Float64Array(rows * cols);
  const error = new Float64Array(rows * cols);
  const unrounded = new Float64Array(rows * cols);
  const losses = new Float64Array(rows).fill(3);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < cols; j++) {
      const { scale, zero } = gridAt(block, r, j);
      const pivot = factor[j * cols + j];
      let sum = carried[r * cols + j];
      for (let i = 0; i < j; i++) sum += error[r * cols + i] * factor[j * cols + i];
      const wanted = w[r * cols + j] + sum / pivot;
      const at = r * cols + j;
      unrounded[at] = wanted / scale + zero;
      codes[at] = nearestCode(wanted, scale, zero, bits);
      const value = scale * ((forced ?? codes)[at] - zero);
      error[at] = w[at] - value;
      losses[r] += (pivot * (wanted - value)) ** 2;
    }
  return { codes, error, unrounded, losses };
}

describeKernels('gptqBlock', (pair) => {
  it.each(CASES)(
    '[$rows, $cols], $bits bits, $groups groups, dead column $deadColumn',
    async ({ carries, ...shape }) => {
      const block = makeBlock(shape, 77);
      const rng = createRng(78);
      const carried = float32s(shape.rows * shape.cols, () => (carries ? 0.01 * rng.normal() : 0));
      const { engine, oracle } = pair();
      const exact = naive(block, carried);
      const judged = await run(oracle, block, carried, WHOLE);
      expect(compareCodes(judged.codes, exact.codes, exact.unrounded, 1e-10)).toEqual({
        boundary: 0,
        wrong: 0,
      });
      for (const layout of [WHOLE, STRIDED]) {
        const found = await run(engine, block, carried, layout);
        // Every decision of the kernel is judged on what it had decided before.
        const followed = naive(block, carried, found.codes);
        const differences = compareCodes(found.codes, followed.codes, followed.unrounded, REACH);
        expect(differences.wrong).toBe(0);
        // Measured over all cases: 0 on lavapipe, SwiftShader and cpu f32.
        expect(differences.boundary).toBeLessThanOrEqual(2);
        // Measured: error 3e-16, losses 6e-16; a division off by 2.5 ULP reaches the losses.
        expect(nmse(found.error, followed.error)).toBeLessThan(1e-14);
        expect(nmse(found.losses, followed.losses)).toBeLessThan(1e-13);
      }
    },
  );

  it('beats rounding to nearest on correlated inputs', async () => {
    const block = makeBlock({ rows: 16, cols: 128, bits: 3, groups: 4 }, 5);
    const { error } = await run(pair().engine, block, new Float32Array(16 * 128), WHOLE);
    // Measured 0.25.
    expect(quadraticLoss(block, error)).toBeLessThan(0.6 * quadraticLoss(block, roundBlock(block).error));
  });

  it('reports the loss as tr(E·H·Eᵀ)', async () => {
    const block = makeBlock({ rows: 5, cols: 64, bits: 4, groups: 2 }, 6);
    const { error, losses } = await run(pair().engine, block, new Float32Array(5 * 64), WHOLE);
    const sum = Array.from(losses).reduce((total, loss) => total + loss - 3, 0);
    expect(sum / quadraticLoss(block, error)).toBeCloseTo(1, 4);
  });
});
