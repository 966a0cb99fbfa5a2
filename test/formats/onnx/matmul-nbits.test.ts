/**
 * Plan: the bytes onnxruntime's own quantizer makes (a recorded vector), round trips over every width with ragged rows and
 * shared scales, and the block sizes in which groups can be written. Control: another zero changes the bytes.
 */
import { describe, expect, it } from 'vitest';
import { packCodes, unpackCodes } from '../../../src/core/code-stream.js';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import type { AffineLinear, Bits } from '../../../src/core/quantized-linear.js';
import { createRng } from '../../../src/core/rng.js';
import {
  blockSizeFor,
  decodeNBits,
  encodeNBits,
  symmetricZeros,
} from '../../../src/formats/onnx/matmul-nbits.js';

interface Size {
  readonly rows: number;
  readonly cols: number;
  readonly bits: 2 | 4 | 8;
  readonly groupSize: number;
}

function randomLinear({ rows, cols, bits, groupSize }: Size): AffineLinear {
  const rng = createRng(rows * 1000 + cols + bits);
  const groups = Math.ceil(cols / groupSize);
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  return {
    kind: 'affine',
    outFeatures: rows,
    inFeatures: cols,
    bits,
    groupSize,
    codes: packCodes(
      Array.from({ length: rows * cols }, () => below(2 ** bits)),
      bits,
    ),
    scales: Float32Array.from({ length: rows * groups }, () => rng.next() - 0.5),
    zeros: Uint8Array.from({ length: rows * groups }, () => below(2 ** bits)),
    groupOf: Uint32Array.from({ length: cols }, (_, k) => Math.floor(k / groupSize)),
  };
}

describe('MatMulNBits', () => {
  it('has the bytes of onnxruntime’s quantizer', () => {
    // K = 16, N = 1: −0.8, 0.3, 0.1, 0.7, 0 … on a symmetric grid of scale 0.1.
    const linear: AffineLinear = {
      ...randomLinear({ rows: 1, cols: 16, bits: 4, groupSize: 16 }),
      codes: packCodes([0, 11, 9, 15, ...Array<number>(12).fill(8)], 4),
      zeros: Uint8Array.of(8),
    };
    const { weight, zeros } = encodeNBits(linear, 16);
    expect([...weight]).toEqual([0xb0, 0xf9, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88]);
    expect([...zeros]).toEqual([8]);
    expect([...encodeNBits({ ...linear, zeros: Uint8Array.of(3) }, 16).zeros]).toEqual([3]);
  });

  it.each<Size & { blockSize: number }>([
    { rows: 5, cols: 64, bits: 4, groupSize: 32, blockSize: 32 },
    { rows: 3, cols: 96, bits: 2, groupSize: 32, blockSize: 16 },
    { rows: 7, cols: 40, bits: 8, groupSize: 16, blockSize: 16 },
    { rows: 2, cols: 88, bits: 4, groupSize: 88, blockSize: 64 },
    { rows: 1, cols: 16, bits: 2, groupSize: 16, blockSize: 16 },
    { rows: 4, cols: 296, bits: 4, groupSize: 128, blockSize: 128 },
  ])('$bits bits, $rows × $cols, groups of $groupSize in blocks of $blockSize', (size) => {
    const linear = randomLinear(size);
    const { rows: outFeatures, cols: inFeatures, bits, blockSize } = size;
    const encoded = encodeNBits(linear, blockSize);
    const blocks = Math.ceil(inFeatures / blockSize);
    expect(encoded.weight.length).toBe((outFeatures * blocks * blockSize * bits) / 8);
    // A second, naive reading of the documented layout.
    const expected = dequantizeLinear(linear);
    const zeroRow = Math.ceil((blocks * bits) / 8);
    for (let n = 0; n < outFeatures; n++)
      for (let k = 0; k < inFeatures; k++) {
        const block = Math.floor(k / blockSize);
        const at = (n * blocks + block) * blockSize * bits + (k % blockSize) * bits;
        const code = (encoded.weight[Math.floor(at / 8)] >> (at % 8)) & (2 ** bits - 1);
        const zero =
          (encoded.zeros[n * zeroRow + Math.floor((block * bits) / 8)] >> ((block * bits) % 8)) &
          (2 ** bits - 1);
        expect(Math.fround(encoded.scales[n * blocks + block] * (code - zero))).toBe(
          expected[n * inFeatures + k],
        );
      }
    const decoded = decodeNBits(encoded, { outFeatures, inFeatures, bits, blockSize });
    expect(dequantizeLinear(decoded)).toEqual(expected);
    expect(encodeNBits(decoded, blockSize)).toEqual(encoded);
  });

  it('has zero points in the middle where none are stored', () => {
    for (const bits of [2, 4, 8] as const) {
      const shape = { outFeatures: 3, inFeatures: 80, bits, blockSize: 16 };
      const zeros = symmetricZeros(shape);
      const words = new Uint32Array(Math.ceil(zeros.length / 4));
      new Uint8Array(words.buffer).set(zeros);
      const perRow = Math.ceil((5 * bits) / 8) * (8 / bits);
      expect(zeros.length).toBe((3 * perRow * bits) / 8);
      expect([...unpackCodes(words, bits as Bits, 3 * perRow)]).toEqual(
        Array<number>(3 * perRow).fill(2 ** (bits - 1)),
      );
    }
  });

  it.each([
    [32, 256, 32],
    [128, 4096, 128],
    [256, 512, 256],
    [512, 4096, 256],
    [96, 4096, 32],
    [48, 4096, 16],
    [24, 4096, undefined],
    [8, 64, undefined],
    [100, 100, 128],
    [40, 40, 64],
    [8, 8, 16],
    [768, 768, 256],
  ])('writes groups of %i of %i columns in blocks of %s', (groupSize, columns, block) => {
    expect(blockSizeFor(groupSize, columns)).toBe(block);
  });
});
