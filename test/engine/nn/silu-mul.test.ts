import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, LAYOUTS, largestError, place } from '../placed.js';

/**
 * WGSL allows exp an error of 3 + 2·|x| ULP, felt where it outweighs the 1 in 1 + e^(−g): 2·90 ULP at the end of the
 * range tested. Measured: lavapipe 3.3e-6, cpu f32 6e-8.
 */
const MAX_RELATIVE_ERROR = 1.1e-5;

// Plan: the tails where e^(−g) under- and overflows, and out sharing its tensor with gate or with up.
describeKernels('siluMul', (pair) => {
  const shapes = [
    { rows: 1, cols: 1 },
    { rows: 5, cols: 51 },
    { rows: 40, cols: 256 },
  ];
  it.each(shapes.flatMap((one) => LAYOUTS.map((layout) => ({ ...one, layout }))))(
    '[$rows, $cols], offset $layout.offset',
    async ({ rows, cols, layout }) => {
      const rng = createRng(3);
      const gates = float32s(rows * cols, () => 20 * rng.normal());
      const ups = float32s(rows * cols, () => rng.normal());
      for (const target of ['out', 'gate', 'up']) {
        const run = (engine: Engine): Promise<Float64Array> => {
          const gate = place(engine, 'gate', { rows, cols, values: gates, layout });
          const up = place(engine, 'up', { rows, cols, values: ups, layout });
          const out =
            target === 'gate' ? gate : target === 'up' ? up : place(engine, 'out', { rows, cols, layout });
          engine.siluMul({ gate: gate.view, up: up.view, out: out.view });
          return out.take();
        };
        const { engine, oracle } = pair();
        expect(largestError(await run(engine), await run(oracle), 1e-30)).toBeLessThan(MAX_RELATIVE_ERROR);
      }
    },
  );

  it('is finite at the ends: ±1000, ±100, 0', async () => {
    const { engine } = pair();
    const gate = place(engine, 'gate', { rows: 1, cols: 5, values: [-1000, -100, 0, 100, 1000] });
    const up = place(engine, 'up', { rows: 1, cols: 5, values: [2, 2, 2, 2, 2] });
    engine.siluMul({ gate: gate.view, up: up.view, out: gate.view });
    const found = await gate.take();
    expect(Math.abs(found[0])).toBeLessThan(1e-30);
    expect(Math.abs(found[1])).toBeLessThan(1e-30);
    expect(Array.from(found.slice(2))).toEqual([0, 200, 2000]);
  });
});
