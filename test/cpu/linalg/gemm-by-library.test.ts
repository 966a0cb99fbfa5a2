import { describe, expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import { gemm } from '../../../src/cpu/linalg/gemm.js';
import { gemmByLibrary } from '../../../src/cpu/linalg/gemm-by-library.js';
import { ScratchArena } from '../../../src/cpu/scratch-arena.js';
import { slowLibrary } from '../engines.js';

const METER = { hold: () => undefined, release: () => undefined };
const TRIANGLES = [
  undefined,
  { part: 'upper', rowOffset: 0 },
  { part: 'lower', rowOffset: 3 },
  { part: 'upper', rowOffset: -90 },
  { part: 'lower', rowOffset: -90 },
] as const;

function matrix(rows: number, cols: number, gap: number, seed: number) {
  const rng = createRng(seed);
  const data = Float32Array.from({ length: rows * (cols + gap) + 3 }, () => rng.next() - 0.5);
  return { data, rows, cols, offset: 3, stride: cols + gap };
}

// Plan: with limits so small that every product is cut into many tiles, the result equals the plain loops for every
// form, contiguous and strided; the arena stays within the limits.
describe('products cut into tiles', () => {
  it.each([0, 5])('agree with plain loops, gap %i', async (gap) => {
    const [m, k, n] = [61, 19, 83];
    for (const form of ['NN', 'NT', 'TN'])
      for (const triangle of TRIANGLES)
        for (const [alpha, beta] of [
          [1, 0],
          [-1, 1],
          [2, 1],
        ] as const) {
          const transA = form === 'TN';
          const transB = form === 'NT';
          const c = matrix(m, n, gap, 3);
          const args = {
            a: transA ? matrix(k, m, gap, 1) : matrix(m, k, gap, 1),
            b: transB ? matrix(n, k, gap, 2) : matrix(k, n, gap, 2),
            transA,
            transB,
            alpha,
            beta,
            ...(triangle === undefined ? {} : { triangle }),
          };
          const wanted = { ...c, data: c.data.slice() };
          gemm({ ...args, c: wanted });
          const limits = { maxPackElems: 300, triangleCols: 16, minTile: 8 };
          await gemmByLibrary(slowLibrary(), new ScratchArena(METER), { ...args, c }, limits);
          const worst = c.data.reduce((most, value, i) => {
            const miss = Math.abs(value - wanted.data[i]);
            return miss <= most ? most : miss;
          }, 0);
          expect(worst, JSON.stringify({ form, triangle, alpha, beta })).toBeLessThan(1e-6);
        }
  });

  it('takes scratch within the limits and gives it back', async () => {
    let held = 0;
    let most = 0;
    const meter = {
      hold: (bytes: number) => {
        held += bytes;
        most = Math.max(most, held);
      },
      release: (bytes: number) => {
        held -= bytes;
      },
    };
    const arena = new ScratchArena(meter);
    const limits = { maxPackElems: 1000, triangleCols: 16, minTile: 8 };
    const [a, b, c] = [matrix(100, 40, 1, 1), matrix(40, 90, 1, 2), matrix(100, 90, 1, 3)];
    await gemmByLibrary(
      slowLibrary(),
      arena,
      { a, b, c, transA: false, transB: false, alpha: 1, beta: 0 },
      limits,
    );
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(3 * 1000 * 4);
    arena.clear();
    expect(held).toBe(0);
  });
});
