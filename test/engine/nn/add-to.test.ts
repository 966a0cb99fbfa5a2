import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, float32s, LAYOUTS, place } from '../placed.js';

// Plan: one addition is correctly rounded, so the float32 of the oracle's sum is the answer, bit for bit.
describeKernels('addTo', (pair) => {
  const shapes = [
    { rows: 1, cols: 1 },
    { rows: 7, cols: 37 },
    { rows: 33, cols: 300 },
  ];
  it.each(shapes.flatMap((one) => LAYOUTS.map((layout) => ({ ...one, layout }))))(
    '[$rows, $cols], offset $layout.offset',
    async ({ rows, cols, layout }) => {
      const rng = createRng(8);
      const xs = float32s(rows * cols, () => rng.normal());
      const ys = float32s(rows * cols, () => 100 * rng.normal());
      const run = (engine: Engine): Promise<Float64Array> => {
        const x = place(engine, 'x', { rows, cols, values: xs, layout });
        engine.addTo({ x: x.view, y: place(engine, 'y', { rows, cols, values: ys, layout }).view });
        return x.take();
      };
      const { engine, oracle } = pair();
      const expected = (await run(oracle)).map(Math.fround);
      expect(firstMismatch(await run(engine), expected)).toBe(-1);
    },
  );

  it('adds one half of a tensor to the other', async () => {
    const { engine } = pair();
    const both = place(engine, 'both', { rows: 2, cols: 4, values: [1, 2, 10, 20, 3, 4, 30, 40] });
    const half = (first: number) => ({ ...both.view, cols: 2, offset: both.view.offset + first });
    engine.addTo({ x: half(0), y: half(2) });
    expect(Array.from(await both.take())).toEqual([11, 22, 10, 20, 33, 44, 30, 40]);
  });
});
