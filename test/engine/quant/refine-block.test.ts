import { expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { nmse, place, STRIDED, upload, WHOLE, WORDS, type Layout } from '../placed.js';
import {
  gridAt,
  makeBlock,
  quadraticLoss,
  roundBlock,
  type BlockCase,
  type BlockShape,
} from './block-case.js';
import { compareCodes, nearestCode } from './grids.js';

/** As in gptq-block.test.ts. */
const REACH = 1e-4;

// Plan: start from plain rounding, so that many codes change; scattered groups, a diagonal entry of 0 whose column must
// stay, blocks that are no multiple of a lane count.
const CASES: readonly (BlockShape & { readonly frozen?: number })[] = [
  { rows: 1, cols: 4, bits: 4, groups: 1 },
  { rows: 9, cols: 36, bits: 4, groups: 3, frozen: 7 },
  { rows: 70, cols: 128, bits: 3, groups: 4, scattered: true },
  { rows: 65, cols: 100, bits: 2, groups: 1, frozen: 0 },
  { rows: 8, cols: 128, bits: 8, groups: 2 },
];

interface State {
  readonly codes: ArrayLike<number>;
  readonly error: ArrayLike<number>;
  readonly gradient: ArrayLike<number>;
}

/** D·H with D = W − Q, rounded to float32 as an engine holds it. */
function gradientOf({ rows, cols, hessian }: BlockCase, error: ArrayLike<number>): Float32Array {
  return Float32Array.from({ length: rows * cols }, (_, at) => {
    const row = at - (at % cols);
    let sum = 0;
    for (let i = 0; i < cols; i++) sum += error[row + i] * hessian[i * cols + (at % cols)];
    return sum;
  });
}

function diagonalOf(block: BlockCase, frozen: number | undefined): Float32Array {
  const { cols, firstColumn, hessian } = block;
  return Float32Array.from({ length: firstColumn + cols }, (_, k) => {
    const j = k - firstColumn;
    return j < 0 ? NaN : j === frozen ? 0 : hessian[j * cols + j];
  });
}

async function run(
  engine: Engine,
  block: BlockCase,
  start: State,
  diagonal: Float32Array,
  layout: Layout,
): Promise<State> {
  const { rows, cols, bits, groups, firstColumn } = block;
  const gradient = place(engine, 'gradient', { rows, cols, values: start.gradient, layout });
  const error = place(engine, 'error', { rows, cols, values: start.error, layout });
  const byteLayout = layout === WHOLE ? WHOLE : WORDS;
  const codes = place(engine, 'codes', { rows, cols, dtype: 'u8', values: start.codes, layout: byteLayout });
  // Diagonal and lower triangle of H must not be read.
  const h = block.hessian.map((value, i) => (i % cols <= Math.floor(i / cols) ? NaN : value));
  engine.refineBlock({
    bits,
    scales: upload(engine, 'scales', 'f32', [rows, groups], block.scales),
    zeros: upload(engine, 'zeros', 'f32', [rows, groups], block.zeros),
    w: place(engine, 'w', { rows, cols, values: block.w, layout }).view,
    gradient: gradient.view,
    h: place(engine, 'h', { rows: cols, cols, values: h, layout }).view,
    diagonal: upload(engine, 'diagonal', 'f32', [diagonal.length], diagonal),
    groupOf: upload(engine, 'groupOf', 'u32', [block.groupOf.length], block.groupOf),
    firstColumn,
    error: error.view,
    codes: codes.view,
  });
  return { codes: await codes.take(), error: await error.take(), gradient: await gradient.take() };
}

/** The sweep in float64, column by column; with `forced` the codes taken are those, whatever it would decide itself. */
function naive(block: BlockCase, start: State, diagonal: Float32Array, forced?: ArrayLike<number>) {
  const { rows, cols, bits, firstColumn, hessian, w } = block;
  const codes = Float64Array.from(start.codes);
  const error = Float64Array.from(start.error);
  const gradient = Float64Array.from(start.gradient);
  const unrounded = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < cols; j++) {
      const curvature = diagonal[firstColumn + j];
      if (!(curvature > 0)) continue;
      const at = r * cols + j;
      const { scale, zero } = gridAt(block, r, j);
      const before = start.codes[at];
      const wanted = scale * (before - zero) + gradient[at] / curvature;
      unrounded[at] = wanted / scale + zero;
      codes[at] = nearestCode(wanted, scale, zero, bits);
      const taken = (forced ?? codes)[at];
      const change = scale * (taken - before);
      error[at] = w[at] - scale * (taken - zero);
      for (let i = j + 1; i < cols; i++) gradient[r * cols + i] -= change * hessian[j * cols + i];
    }
  return { codes, error, gradient, unrounded };
}

describeKernels('refineBlock', (pair) => {
  it.each(CASES)(
    '[$rows, $cols], $bits bits, $groups groups, frozen column $frozen',
    async ({ frozen, ...shape }) => {
      const block = makeBlock(shape, 91);
      const rounded = roundBlock(block);
      const start = {
        ...rounded,
        error: Float32Array.from(rounded.error),
        gradient: gradientOf(block, rounded.error),
      };
      const diagonal = diagonalOf(block, frozen);
      const { engine, oracle } = pair();
      const exact = naive(block, start, diagonal);
      const judged = await run(oracle, block, start, diagonal, WHOLE);
      expect(compareCodes(judged.codes, exact.codes, exact.unrounded, 1e-10)).toEqual({
        boundary: 0,
        wrong: 0,
      });
      for (const layout of [WHOLE, STRIDED]) {
        const found = await run(engine, block, start, diagonal, layout);
        const followed = naive(block, start, diagonal, found.codes);
        const differences = compareCodes(found.codes, followed.codes, followed.unrounded, REACH);
        expect(differences.wrong).toBe(0);
        // Measured over all cases: 0 on lavapipe, SwiftShader and cpu f32.
        expect(differences.boundary).toBeLessThanOrEqual(2);
        // Measured: error 1.4e-15, gradient 6e-14 (cpu f32 1.5e-15).
        expect(nmse(found.error, followed.error)).toBeLessThan(1e-14);
        expect(nmse(found.gradient, followed.gradient)).toBeLessThan(2e-13);
      }
    },
  );

  it('changes many codes and lowers the loss, never raises it', async () => {
    const block = makeBlock({ rows: 16, cols: 128, bits: 4, groups: 4 }, 8);
    const rounded = roundBlock(block);
    const start = { ...rounded, gradient: gradientOf(block, rounded.error) };
    const { codes, error } = await run(pair().engine, block, start, diagonalOf(block, undefined), WHOLE);
    expect(Array.from(codes).filter((code, i) => code !== start.codes[i]).length).toBeGreaterThan(100);
    expect(quadraticLoss(block, error)).toBeLessThan(0.9 * quadraticLoss(block, rounded.error));
  });
});
