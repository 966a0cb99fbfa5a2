import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, LAYOUTS, largestError, place, upload } from '../placed.js';

/** Two products and a sum: three roundings of 6e-8. Measured on lavapipe: 9.5e-8. */
const MAX_ERROR = 3e-7;

// Plan: all of a head and a part of it turning, several windows, head sizes that are no power of two.
const CASES = [
  { windows: 1, seqLen: 1, heads: 1, headDim: 2, rotaryDims: 2 },
  { windows: 3, seqLen: 5, heads: 3, headDim: 20, rotaryDims: 20 },
  { windows: 2, seqLen: 33, heads: 4, headDim: 64, rotaryDims: 64 },
  { windows: 2, seqLen: 7, heads: 2, headDim: 80, rotaryDims: 32 },
];

function angles(positions: number, half: number, of: (x: number) => number): number[] {
  return Array.from({ length: positions * half }, (_, i) =>
    Math.fround(of(Math.floor(i / half) * 10000 ** (-(i % half) / half))),
  );
}

describeKernels('rope', (pair) => {
  it.each(CASES.flatMap((one) => LAYOUTS.map((layout) => ({ ...one, layout }))))(
    '$windows windows of $seqLen, $heads heads of $headDim, $rotaryDims turning, offset $layout.offset',
    async ({ windows, seqLen, heads, headDim, rotaryDims, layout }) => {
      const rng = createRng(4);
      const rows = windows * seqLen;
      const cols = heads * headDim;
      const values = float32s(rows * cols, () => rng.normal());
      const half = rotaryDims / 2;
      const run = (engine: Engine): Promise<Float64Array> => {
        const x = place(engine, 'x', { rows, cols, values, layout });
        // One position more than needed: the table may be longer than a window.
        const cos = upload(engine, 'cos', 'f32', [seqLen + 1, half], angles(seqLen + 1, half, Math.cos));
        const sin = upload(engine, 'sin', 'f32', [seqLen + 1, half], angles(seqLen + 1, half, Math.sin));
        engine.rope({ x: x.view, cos, sin, seqLen, heads, headDim, rotaryDims });
        return x.take();
      };
      const { engine, oracle } = pair();
      const found = await run(engine);
      expect(largestError(found, await run(oracle), 1)).toBeLessThan(MAX_ERROR);
      // Position 0 does not turn; elements past rotaryDims never do.
      expect(Array.from(found.slice(0, cols))).toEqual(Array.from(values.slice(0, cols)));
      const untouched = (i: number): boolean => (i % cols) % headDim >= rotaryDims;
      expect(found.filter((_, i) => untouched(i))).toEqual(
        Float64Array.from(values.filter((_, i) => untouched(i))),
      );
    },
  );
});
