/** Affine records of noise, and what must hold of any record that a reader lets through. */
import { expect } from 'vitest';
import { packCodes, unpackCodes } from '../../src/core/code-stream.js';
import type { DType } from '../../src/core/dtype.js';
import { DTYPE_BYTES, roundToF16 } from '../../src/core/dtype.js';
import type { AffineLinear, Bits } from '../../src/core/quantized-linear.js';
import { createRng } from '../../src/core/rng.js';
import type { StoredTensor } from '../../src/formats/stored-tensor.js';
import { bytesOf } from '../../src/io/byte-views.js';

export interface RecordShape {
  /** N. */
  readonly n: number;
  /** K. */
  readonly k: number;
  readonly bits: Bits;
  /** Never −1. */
  readonly groupSize: number;
  readonly symmetric?: boolean;
  /** Scales of either sign. */
  readonly signed?: boolean;
}

/** float16 scales, groups that are runs of columns. */
export function makeAffine(
  { n, k, bits, groupSize, symmetric = false, signed = false }: RecordShape,
  seed: number,
): AffineLinear {
  const rng = createRng(seed);
  const cells = (n * k) / groupSize;
  const codes = new Uint32Array((n * k * bits) / 32);
  for (let row = 0; row < n; row++) {
    const rowCodes = Uint8Array.from({ length: k }, () => rng.int(2 ** bits));
    codes.set(packCodes(rowCodes, bits), (row * k * bits) / 32);
  }
  const sign = (): number => (signed && rng.int(2) === 1 ? -1 : 1);
  return {
    kind: 'affine',
    bits,
    groupSize,
    outFeatures: n,
    inFeatures: k,
    codes,
    scales: Float32Array.from({ length: cells }, () => sign() * roundToF16(0.001 + rng.next())),
    zeros: Uint8Array.from({ length: cells }, () => (symmetric ? 2 ** (bits - 1) : rng.int(2 ** bits))),
    groupOf: Uint32Array.from({ length: k }, (_, column) => Math.floor(column / groupSize)),
  };
}

export function codeAt(record: AffineLinear, row: number, column: number): number {
  const rowWords = (record.inFeatures * record.bits) / 32;
  return unpackCodes(record.codes, record.bits, record.inFeatures, row * rowWords)[column];
}

/** Lengths, ranges and finiteness that every later step relies on. */
export function expectValid(record: AffineLinear): void {
  const { outFeatures, inFeatures, groupSize, bits, codes, scales, zeros, groupOf } = record;
  const groups = inFeatures / groupSize;
  expect(codes.length).toBe((outFeatures * inFeatures * bits) / 32);
  expect(scales.length).toBe(outFeatures * groups);
  expect(zeros.length).toBe(outFeatures * groups);
  expect(groupOf.length).toBe(inFeatures);
  expect(scales.every((scale) => Number.isFinite(scale))).toBe(true);
  expect(zeros.every((zero) => zero < 2 ** bits)).toBe(true);
  expect(groupOf.every((group) => group < groups)).toBe(true);
}

/** A tensor as if read from byte 1000 of a file. */
export function stored(
  name: string,
  dtype: DType,
  shape: readonly number[],
  data: ArrayBufferView,
): StoredTensor {
  const bytes = bytesOf(data);
  const length = shape.reduce((total, dim) => total * dim, DTYPE_BYTES[dtype]);
  return { info: { name, dtype, shape, file: 'x.safetensors', begin: 1000, end: 1000 + length }, bytes };
}

export function hex(words: Uint32Array): string[] {
  return [...words].map((word) => word.toString(16).padStart(8, '0'));
}
