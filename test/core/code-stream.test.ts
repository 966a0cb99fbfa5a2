import { describe, expect, it } from 'vitest';
import { packCodes, unpackCodes } from '../../src/core/code-stream.js';
import { createRng } from '../../src/core/rng.js';

describe('code streams', () => {
  it.each([2, 3, 4, 5, 6, 8] as const)('hold %i-bit codes, least significant bits first', (bits) => {
    const rng = createRng(bits);
    for (const count of [1, 7, 31, 32, 33, 97, 256]) {
      const codes = Uint8Array.from({ length: count }, () => rng.int(2 ** bits));
      const words = packCodes(codes, bits);
      expect(words).toHaveLength(Math.ceil((count * bits) / 32));
      // Bit t of the stream is bit t mod 32 of word ⌊t/32⌋.
      const bitAt = (t: number): number => (words[Math.floor(t / 32)] >>> (t % 32)) & 1;
      const slow = codes.map((_, i) =>
        Array.from({ length: bits }, (_, b) => bitAt(i * bits + b) * 2 ** b).reduce(
          (sum, bit) => sum + bit,
          0,
        ),
      );
      expect(slow).toEqual(codes);
      expect(unpackCodes(words, bits, count)).toEqual(codes);
      const shifted = Uint32Array.of(0xffffffff, 0xffffffff, ...words, 0xffffffff);
      expect(unpackCodes(shifted, bits, count, 2)).toEqual(codes);
      expect(unpackCodes(words, bits, count - 1)).toEqual(codes.subarray(0, count - 1));
    }
  });
});
