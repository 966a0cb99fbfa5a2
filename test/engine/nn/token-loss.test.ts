import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, LAYOUTS, largestError, place, upload } from '../placed.js';

/**
 * Of 1 + loss. Measured: lavapipe 8.5e-8, SwiftShader 6.9e-8, cpu f32 4.7e-8. The bound leaves room for the 2⁻²¹ of
 * absolute error that WGSL allows log below 2.
 */
const MAX_ERROR = 6e-7;

// Plan: rows around the workgroup of 256 and its stride of 1,024, a large vocabulary, a confident model, equal logits.
const CASES = [
  { rows: 1, vocab: 1, spread: 1 },
  { rows: 9, vocab: 255, spread: 3 },
  { rows: 3, vocab: 1025, spread: 30 },
  { rows: 2, vocab: 151936, spread: 4 },
];

describeKernels('tokenLoss', (pair) => {
  it.each(CASES.flatMap((one) => LAYOUTS.map((layout) => ({ ...one, layout }))))(
    '$rows rows of $vocab logits, spread $spread, offset $layout.offset',
    async ({ rows, vocab, spread, layout }) => {
      const rng = createRng(12);
      const values = float32s(rows * vocab, () => spread * rng.normal() - 100);
      // The most likely token of row 0: a loss near 0.
      const best = values
        .subarray(0, vocab)
        .indexOf(values.subarray(0, vocab).reduce((a, b) => Math.max(a, b)));
      const targets = Array.from({ length: rows }, (_, i) => (i === 0 ? best : rng.int(vocab)));
      const run = async (engine: Engine): Promise<ArrayLike<number>> => {
        const logits = place(engine, 'logits', { rows, cols: vocab, values, layout });
        const losses = engine.create([rows], 'f32', 'losses');
        const wanted = upload(engine, 'targets', 'u32', [rows], targets);
        engine.tokenLoss({ logits: logits.view, targets: wanted, losses });
        return engine.read(losses);
      };
      const { engine, oracle } = pair();
      expect(largestError(await run(engine), await run(oracle), 1)).toBeLessThan(MAX_ERROR);
    },
  );

  it('gives ln V for equal logits and the full difference for a hopeless target', async () => {
    const { engine } = pair();
    const values = [5, 5, 5, 5, 5, 5, 300, 0, 0, 0, 0, 0];
    const logits = place(engine, 'logits', { rows: 2, cols: 6, values });
    const losses = engine.create([2], 'f32', 'losses');
    engine.tokenLoss({ logits: logits.view, targets: upload(engine, 't', 'u32', [2], [3, 1]), losses });
    const found = await engine.read(losses);
    expect(found[0]).toBeCloseTo(Math.log(6), 5);
    expect(found[1]).toBeCloseTo(300, 4);
  });
});
