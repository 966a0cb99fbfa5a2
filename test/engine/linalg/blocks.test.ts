import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import type { MatrixView } from '../../../src/engine/tensor.js';
import { expectMatch } from '../../helpers/compare.js';
import { describeEngines, openOracle } from '../../helpers/engines.js';
import { Guarded, PLACES, randomReals, type Place } from '../../helpers/guarded.js';

/** A well-conditioned lower factor: unit-sized noise below a diagonal of about √n. */
function lowerFactor(n: number, seed: number): Float32Array {
  const l = randomReals(n * n, seed, 0.5);
  for (let i = 0; i < n; i++) {
    l[i * n + i] = Math.sqrt(n) + Math.abs(l[i * n + i]);
    for (let j = i + 1; j < n; j++) l[i * n + j] = NaN;
  }
  return l;
}

/** Symmetric positive definite H = LᵀL in its lower triangle, NaN above. */
function symmetric(n: number, seed: number): Float32Array {
  const l = lowerFactor(n, seed);
  const h = new Float32Array(n * n).fill(NaN);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let r = i; r < n; r++) sum += l[r * n + i] * l[r * n + j];
      h[i * n + j] = sum;
    }
  return h;
}

/** Largest NMSE seen at n = 128: lavapipe 4.4e-14 (solveLeft), cpu float32 6.5e-16; about 20 times that. */
const NMSE = 1e-12;

describeEngines('factored blocks', (make) => {
  let engine: Engine;
  let oracle: Engine;
  beforeAll(async () => {
    [engine, oracle] = [await make(), await openOracle()];
  });
  afterAll(() => Promise.all([engine.dispose(), oracle.dispose()]));

  /** Runs the same on both engines and compares views and `failures`. */
  const check = async (
    body: (target: Engine, guarded: Guarded) => { view: MatrixView; failures?: MatrixView },
  ): Promise<number> => {
    const results = [];
    for (const target of [engine, oracle]) {
      const guarded = new Guarded(target);
      const { view, failures } = body(target, guarded);
      const data = await guarded.read(view);
      const count = failures === undefined ? [0] : await target.read(failures.tensor);
      results.push({ data, count: count[0] });
      guarded.free();
    }
    expectMatch(results[0].data, results[1].data, { nmse: NMSE });
    expect(results[0].count).toBe(results[1].count);
    return results[0].count;
  };

  const factor = (h: Float32Array, n: number, place: Place): Promise<number> =>
    check((target, guarded) => {
      const block = guarded.put(h, n, n, { place });
      const failures = guarded.put([0], 1, 1, { dtype: 'u32' });
      target.choleskyBlock({ block, failures: failures.tensor });
      return { view: block, failures };
    });

  it.each([1, 7, 31, 64, 127, 128])('factors %i × %i, upper triangle untouched', async (n) => {
    for (const place of PLACES) expect(await factor(symmetric(n, n), n, place)).toBe(0);
  });

  it.each([0, -1, NaN, Infinity])('counts a pivot of %d and goes on with 1', async (pivot) => {
    const h = symmetric(20, 5);
    h[19 * 20 + 19] = pivot;
    for (let j = 0; j < 19; j++) h[19 * 20 + j] = 0;
    const failures = await factor(h, 20, 'odd');
    expect(failures).toBe(1);
  });

  it.each([
    [1, 1],
    [5, 33],
    [31, 32],
    [64, 7],
    [128, 65],
  ])('solves with a factor of %i for %i lines', async (n, m) => {
    for (const place of PLACES) {
      await check((target, guarded) => {
        const l = guarded.put(lowerFactor(n, 3), n, n, { place });
        const x = guarded.put(randomReals(n * m, 4), n, m, { place });
        target.solveLeft({ l, x });
        return { view: x };
      });
      await check((target, guarded) => {
        const l = guarded.put(lowerFactor(n, 5), n, n, { place });
        const x = guarded.put(randomReals(n * m, 6), m, n, { place });
        target.solveRight({ l, x });
        return { view: x };
      });
    }
  });

  it('solves with a factor in the tensor of x', async () => {
    for (const side of ['left', 'right'] as const)
      await check((target, guarded) => {
        const n = 20;
        const panel = guarded.put(randomReals(60 * 60, 7), 60, 60);
        const l = { ...panel, rows: n, cols: n };
        const x =
          side === 'left'
            ? { ...panel, rows: n, cols: 40, offset: 20 }
            : { ...panel, rows: 40, cols: n, offset: 1200 };
        target.scale({ x: l, factor: 0.1 });
        const diagonal = guarded.put(new Float32Array(n).fill(4), 1, n);
        target.setDiagonal({ from: diagonal.tensor, fromOffset: 0, to: l });
        if (side === 'left') target.solveLeft({ l, x });
        else target.solveRight({ l, x });
        return { view: panel };
      });
  });
});
