import { describe, it } from 'vitest';
import { CPU_CASES } from '../engines.js';
import { expectTable, randomTable, readTable, stridedView } from '../strided.js';
import type { Table } from '../strided.js';

interface Sizes {
  readonly windows: number;
  readonly seqLen: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly slidingWindow?: number;
}

/** Softmax attention written out: token t of a window sees tokens s ≤ t with t − s < slidingWindow. */
function attend(q: Table, k: Table, v: Table, scale: number, sizes: Sizes): Table {
  const { seqLen, heads, kvHeads, headDim, slidingWindow = Infinity } = sizes;
  return q.map((row, r) => {
    const t = r % seqLen;
    const result: number[] = [];
    for (let h = 0; h < heads; h++) {
      const at = Math.floor(h / (heads / kvHeads)) * headDim;
      const seen = Array.from({ length: t + 1 }, (_, s) => s).filter((s) => t - s < slidingWindow);
      const powers = seen.map((s) => {
        const key = k[r - t + s];
        let dot = 0;
        for (let e = 0; e < headDim; e++) dot += row[h * headDim + e] * key[at + e];
        return Math.exp(dot * scale);
      });
      const total = powers.reduce((sum, value) => sum + value, 0);
      for (let e = 0; e < headDim; e++)
        result.push(powers.reduce((sum, p, i) => sum + (p / total) * v[r - t + seen[i]][at + e], 0));
    }
    return result;
  });
}

const CASES: readonly Sizes[] = [
  { windows: 1, seqLen: 1, heads: 1, kvHeads: 1, headDim: 3 },
  { windows: 2, seqLen: 7, heads: 4, kvHeads: 2, headDim: 5 },
  { windows: 2, seqLen: 65, heads: 3, kvHeads: 1, headDim: 8, slidingWindow: 10 },
  { windows: 1, seqLen: 150, heads: 2, kvHeads: 2, headDim: 16, slidingWindow: 1 },
  { windows: 1, seqLen: 150, heads: 2, kvHeads: 1, headDim: 16 },
  { windows: 1, seqLen: 300, heads: 1, kvHeads: 1, headDim: 4, slidingWindow: 40 },
];

// Plan: causal grouped-query attention with and without a sliding window against the formula, on strided views.
describe.each(CPU_CASES)('attention · $name', ({ make, unit }) => {
  it.each(CASES)('%o', async (sizes) => {
    const engine = await make();
    const { windows, seqLen, heads, kvHeads, headDim } = sizes;
    const q = randomTable(windows * seqLen, heads * headDim, 1);
    const k = randomTable(windows * seqLen, kvHeads * headDim, 2);
    const v = randomTable(windows * seqLen, kvHeads * headDim, 3);
    const out = stridedView(engine, q);
    engine.attention({
      q: stridedView(engine, q),
      k: stridedView(engine, k),
      v: stridedView(engine, v),
      out,
      scale: 0.7,
      ...sizes,
    });
    expectTable(await readTable(engine, out), attend(q, k, v, 0.7, sizes), 64 * unit);
    await engine.dispose();
  });
});
