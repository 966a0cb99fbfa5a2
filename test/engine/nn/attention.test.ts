import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, nmse, place, STRIDED, WHOLE, type Layout } from '../placed.js';

/** Measured over all cases: lavapipe 7e-13 (sharp scores; 2e-14 without), cpu f32 6e-16. The bound is three times that. */
const MAX_NMSE = 2e-12;

interface Case {
  readonly windows: number;
  readonly seqLen: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly slidingWindow?: number;
  /** Standard deviation of q: large ones make the softmax nearly one-hot. */
  readonly sharpness?: number;
}

// Plan: one token; tile of 32 ± 1; several windows; groups of query heads; head sizes around the chunk of
// 32 and the largest; sliding windows of 1, inside a tile, across tiles, longer than the window; sharp scores.
const CASES: readonly Case[] = [
  { windows: 1, seqLen: 1, heads: 1, kvHeads: 1, headDim: 4 },
  { windows: 3, seqLen: 31, heads: 4, kvHeads: 2, headDim: 16 },
  { windows: 2, seqLen: 32, heads: 2, kvHeads: 2, headDim: 32 },
  { windows: 1, seqLen: 33, heads: 6, kvHeads: 2, headDim: 80 },
  { windows: 1, seqLen: 131, heads: 2, kvHeads: 1, headDim: 128, sharpness: 8 },
  { windows: 1, seqLen: 97, heads: 1, kvHeads: 1, headDim: 136 },
  { windows: 1, seqLen: 65, heads: 2, kvHeads: 1, headDim: 256 },
  { windows: 2, seqLen: 70, heads: 2, kvHeads: 1, headDim: 40, slidingWindow: 1 },
  { windows: 1, seqLen: 130, heads: 1, kvHeads: 1, headDim: 24, slidingWindow: 5 },
  { windows: 1, seqLen: 200, heads: 2, kvHeads: 1, headDim: 32, slidingWindow: 64, sharpness: 4 },
  { windows: 1, seqLen: 40, heads: 1, kvHeads: 1, headDim: 64, slidingWindow: 4096 },
  { windows: 1, seqLen: 2050, heads: 1, kvHeads: 1, headDim: 8, slidingWindow: 100 },
];

function makeInputs({ windows, seqLen, heads, kvHeads, headDim, sharpness = 1 }: Case) {
  const rng = createRng(6);
  const rows = windows * seqLen;
  return {
    q: float32s(rows * heads * headDim, () => sharpness * rng.normal()),
    k: float32s(rows * kvHeads * headDim, () => rng.normal()),
    v: float32s(rows * kvHeads * headDim, () => rng.normal()),
  };
}

function run(engine: Engine, test: Case, layout: Layout): Promise<Float64Array> {
  const { windows, seqLen, heads, kvHeads, headDim } = test;
  const { q, k, v } = makeInputs(test);
  const rows = windows * seqLen;
  const kvCols = kvHeads * headDim;
  const cols = heads * headDim;
  const out = place(engine, 'out', { rows, cols, layout });
  engine.attention({
    q: place(engine, 'q', { rows, cols, values: q, layout }).view,
    k: place(engine, 'k', { rows, cols: kvCols, values: k, layout }).view,
    v: place(engine, 'v', { rows, cols: kvCols, values: v, layout }).view,
    out: out.view,
    seqLen,
    heads,
    kvHeads,
    headDim,
    scale: 1 / Math.sqrt(headDim),
    ...(test.slidingWindow === undefined ? {} : { slidingWindow: test.slidingWindow }),
  });
  return out.take();
}

/** Softmax attention written out for one query at a time, in float64: the judge of judge and kernel alike. */
function naive(test: Case): Float64Array {
  const { windows, seqLen, heads, kvHeads, headDim, slidingWindow = Infinity } = test;
  const { q, k, v } = makeInputs(test);
  const out = new Float64Array(q.length);
  for (let row = 0; row < windows * seqLen; row++)
    for (let h = 0; h < heads; h++) {
      const t = row % seqLen;
      const kvHead = Math.floor((h * kvHeads) / heads);
      const at = (s: number): number => ((row - t + s) * kvHeads + kvHead) * headDim;
      const queryAt = (row * heads + h) * headDim;
      const seen = Array.from({ length: t + 1 }, (_, s) => s).filter((s) => t - s < slidingWindow);
      const scores = seen.map((s) => {
        let dot = 0;
        for (let e = 0; e < headDim; e++) dot += q[queryAt + e] * k[at(s) + e];
        return dot / Math.sqrt(headDim);
      });
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      seen.forEach((s, i) => {
        for (let e = 0; e < headDim; e++) out[queryAt + e] += (weights[i] / total) * v[at(s) + e];
      });
    }
  return out;
}

describeKernels('attention', (pair) => {
  it.each(CASES)(
    '$windows × $seqLen tokens, $heads/$kvHeads heads of $headDim, sliding window $slidingWindow',
    async (test) => {
      const { engine, oracle } = pair();
      const expected = naive(test);
      expect(nmse(await run(oracle, test, WHOLE), expected)).toBeLessThan(1e-24);
      for (const layout of [WHOLE, STRIDED])
        expect(nmse(await run(engine, test, layout), expected)).toBeLessThan(MAX_NMSE);
    },
  );

  it('reads q, k and v as views of one tensor', async () => {
    const rng = createRng(9);
    const rows = 37;
    const values = float32s(rows * 96, () => rng.normal());
    const attend = (engine: Engine): Promise<Float64Array> => {
      const { view } = place(engine, 'qkv', { rows, cols: 96, values });
      const out = place(engine, 'out', { rows, cols: 32 });
      const part = (i: number) => ({ ...view, cols: 32, offset: view.offset + 32 * i });
      const shape = { seqLen: rows, heads: 2, kvHeads: 2, headDim: 16, scale: 0.25 };
      engine.attention({ q: part(0), k: part(1), v: part(2), out: out.view, ...shape });
      return out.take();
    };
    const { engine, oracle } = pair();
    expect(nmse(await attend(engine), await attend(oracle))).toBeLessThan(MAX_NMSE);
  });
});
