import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { DenseDType } from '../../../src/engine/tensor.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, upload } from '../placed.js';

// Plan: rows of every panel, first and last token of each, in all three dtypes; conversion is exact, so is equality.
const CASES: readonly { n: number; hidden: number; panelRows: readonly number[] }[] = [
  { n: 1, hidden: 1, panelRows: [1] },
  { n: 13, hidden: 7, panelRows: [5, 5, 3] },
  { n: 129, hidden: 64, panelRows: [300, 1] },
];

/** Raw values of a table: any finite bit pattern of 16 bits, subnormals included. */
function table(dtype: DenseDType, length: number, seed: number): number[] {
  const rng = createRng(seed);
  if (dtype === 'f32') return Array.from({ length }, () => Math.fround(rng.normal()));
  const infinity = dtype === 'f16' ? 0x7c00 : 0x7f80;
  // The smallest bfloat16 numbers are subnormal in float32 as well, where WebGPU may flush them.
  const smallest = dtype === 'f16' ? 1 : 0x80;
  return Array.from({ length }, () => (rng.int(2) << 15) | (smallest + rng.int(infinity - smallest)));
}

describeKernels('embed', (pair) => {
  it.each(CASES.flatMap((one) => (['f32', 'f16', 'bf16'] as const).map((dtype) => ({ ...one, dtype }))))(
    '$n tokens of $hidden $dtype columns from panels of $panelRows rows',
    async ({ n, hidden, panelRows, dtype }) => {
      const vocab = panelRows.reduce((sum, rows) => sum + rows, 0);
      const rng = createRng(5);
      const tokens = Array.from({ length: n }, (_, i) => (i < 2 ? [vocab - 1, 0][i] : rng.int(vocab)));
      const run = (engine: Engine): Promise<ArrayLike<number>> => {
        const panels = panelRows.map((rows, p) =>
          upload(engine, `panel ${p}`, dtype, [rows, hidden], table(dtype, rows * hidden, p)),
        );
        const out = engine.create([n, hidden], 'f32', 'out');
        engine.embed({ tokens: upload(engine, 'tokens', 'u32', [n], tokens), panels, out });
        return engine.read(out);
      };
      const { engine, oracle } = pair();
      expect(firstMismatch(await run(engine), await run(oracle))).toBe(-1);
    },
  );
});
