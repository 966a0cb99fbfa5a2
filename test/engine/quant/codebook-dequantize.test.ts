import { expect, it } from 'vitest';
import { CODEBOOKS } from '../../../src/core/codebooks.js';
import { createRng } from '../../../src/core/rng.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, float32s, LAYOUTS, place } from '../placed.js';

// Plan: table[code]·absmax is one rounded product, so values are equal bit for bit; blocks cross row ends.
describeKernels('codebookDequantize', (pair) => {
  const shapes = [
    { rows: 1, cols: 1, blockSize: 32 },
    { rows: 19, cols: 97, blockSize: 64 },
    { rows: 40, cols: 256, blockSize: 128 },
    { rows: 3, cols: 5000, blockSize: 4096 },
  ];
  it.each(
    shapes.flatMap((shape) => [
      { ...shape, codebook: 'nf4' } as const,
      { ...shape, codebook: 'fp4' } as const,
    ]),
  )('[$rows, $cols] of $codebook in blocks of $blockSize', async ({ rows, cols, blockSize, codebook }) => {
    const rng = createRng(rows);
    const count = rows * cols;
    const codes = Uint8Array.from({ length: Math.ceil(count / 2) }, () => rng.int(256));
    const absmax = float32s(Math.ceil(count / blockSize), () => rng.normal() ** 2 + 1e-4);
    const table = CODEBOOKS[codebook];
    const { engine } = pair();
    const weight = {
      outFeatures: rows,
      inFeatures: cols,
      blockSize,
      codes: engine.upload(codes, [codes.length], 'u8', 'codes'),
      absmax: engine.upload(absmax, [absmax.length], 'f32', 'absmax'),
      table: engine.upload(table, [16], 'f32', 'table'),
    };
    const expected = Float32Array.from({ length: count }, (_, i) => {
      const byte = codes[i >> 1];
      return table[i % 2 === 0 ? byte >> 4 : byte & 15] * absmax[Math.floor(i / blockSize)];
    });
    for (const layout of LAYOUTS) {
      const out = place(engine, 'out', { rows, cols, layout });
      engine.codebookDequantize({ weight, out: out.view });
      expect(firstMismatch(await out.take(), expected)).toBe(-1);
    }
  });
});
