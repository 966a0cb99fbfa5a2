import { expect, it } from 'vitest';
import { f32ToBf16, f32ToF16 } from '../../../src/core/dtype.js';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, LAYOUTS, largestError, place, upload } from '../placed.js';

/** Measured over all cases below: lavapipe 3.1e-7, cpu f32 6e-8. The bound is three times that. */
const MAX_RELATIVE_ERROR = 1e-6;

// Plan: row lengths around the workgroup of 256, one element, long; all weight dtypes; odd strides; in place.
const CASES = [
  { rows: 1, cols: 1, dtype: 'f32' },
  { rows: 3, cols: 255, dtype: 'bf16' },
  { rows: 17, cols: 257, dtype: 'f16' },
  { rows: 300, cols: 64, dtype: 'f32' },
  { rows: 2, cols: 5003, dtype: 'bf16' },
] as const;

function weightBits(dtype: 'f32' | 'f16' | 'bf16', cols: number): number[] {
  const rng = createRng(2);
  const convert = { f32: Math.fround, f16: f32ToF16, bf16: f32ToBf16 }[dtype];
  return Array.from({ length: cols }, () => convert(1 + 0.2 * rng.normal()));
}

describeKernels('rmsNorm', (pair) => {
  it.each(CASES.flatMap((one) => LAYOUTS.map((layout) => ({ ...one, layout }))))(
    '[$rows, $cols], $dtype weight, offset $layout.offset',
    async ({ rows, cols, dtype, layout }) => {
      const rng = createRng(1);
      const values = float32s(rows * cols, () => 3 * rng.normal());
      for (const inPlace of [false, true]) {
        const run = (engine: Engine): Promise<Float64Array> => {
          const x = place(engine, 'x', { rows, cols, values, layout });
          const out = inPlace ? x : place(engine, 'out', { rows, cols, layout });
          const weight = upload(engine, 'weight', dtype, [cols], weightBits(dtype, cols));
          engine.rmsNorm({ x: x.view, weight, eps: 1e-5, out: out.view });
          return out.take();
        };
        const { engine, oracle } = pair();
        expect(largestError(await run(engine), await run(oracle), 1e-6)).toBeLessThan(MAX_RELATIVE_ERROR);
      }
    },
  );

  it('uses eps: a row of zeros stays zero, a tiny row is not blown up', async () => {
    const { engine } = pair();
    const x = place(engine, 'x', { rows: 2, cols: 4, values: [0, 0, 0, 0, 1e-4, 0, 0, 0] });
    const weight = upload(engine, 'weight', 'f32', [4], [1, 1, 1, 1]);
    engine.rmsNorm({ x: x.view, weight, eps: 1, out: x.view });
    const found = await x.take();
    expect(Array.from(found.slice(0, 4))).toEqual([0, 0, 0, 0]);
    expect(found[4]).toBeCloseTo(1e-4, 9);
  });
});
