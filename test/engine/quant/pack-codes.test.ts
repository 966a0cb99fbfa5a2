import { expect, it } from 'vitest';
import { createRng, shuffledIndices } from '../../../src/core/rng.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, upload } from '../placed.js';
import { ALL_BITS } from './grids.js';

/** Bit b of a row's stream is bit b mod bits of code ⌊b / bits⌋: the definition, one bit at a time. */
function packByBits(
  codes: ArrayLike<number>,
  positionOf: ArrayLike<number>,
  rows: number,
  bits: number,
): Uint32Array {
  const cols = positionOf.length;
  const words = (cols * bits) / 32;
  const packed = new Uint32Array(rows * words);
  for (let i = 0; i < rows; i++)
    for (let b = 0; b < cols * bits; b++) {
      const code = codes[i * cols + positionOf[Math.floor(b / bits)]];
      packed[i * words + (b >>> 5)] |= ((code >>> (b % bits)) & 1) << (b & 31);
    }
  return packed;
}

// Plan: every width, one row and many, natural and shuffled order; packed words are bit-exact.
describeKernels('packCodes', (pair) => {
  const shapes = [
    { rows: 1, cols: 32 },
    { rows: 5, cols: 96 },
    { rows: 67, cols: 160 },
  ];
  it.each(shapes.flatMap((shape) => ALL_BITS.map((bits) => ({ ...shape, bits }))))(
    '[$rows, $cols] codes of $bits bits',
    async ({ rows, cols, bits }) => {
      const rng = createRng(bits);
      const codes = Array.from({ length: rows * cols }, () => rng.int(2 ** bits));
      for (const positionOf of [Uint32Array.from({ length: cols }, (_, i) => i), shuffledIndices(cols, 1)]) {
        const { engine } = pair();
        const packed = engine.create([rows, (cols * bits) / 32], 'u32', 'packed');
        engine.packCodes({
          codes: upload(engine, 'codes', 'u8', [rows, cols], codes),
          positionOf: upload(engine, 'positionOf', 'u32', [cols], positionOf),
          bits,
          packed,
        });
        const expected = packByBits(codes, positionOf, rows, bits);
        expect(firstMismatch(await engine.read(packed), expected)).toBe(-1);
      }
    },
  );
});
