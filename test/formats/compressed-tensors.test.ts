// Plan: words equal those compressed-tensors itself packs; a layer survives both directions for both widths, with and
// without zero points, at ragged sizes; a plain reader gets the same weights; other programs' variants (I8 zero points,
// I32 shapes, flat scales, g_idx) are read, and whatever does not fit together is refused with its place.
import { describe, expect, it } from 'vitest';
import { packCodes } from '../../src/core/code-stream.js';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { f16ToF32 } from '../../src/core/dtype.js';
import { FormatError } from '../../src/core/errors.js';
import type { AffineLinear } from '../../src/core/quantized-linear.js';
import type { StoredPackedLayer } from '../../src/formats/compressed-tensors/decode-packed-layer.js';
import { decodePackedLayer } from '../../src/formats/compressed-tensors/decode-packed-layer.js';
import type { PackedTensors } from '../../src/formats/compressed-tensors/pack-quantized-layer.js';
import {
  encodePackedLayer,
  packZeros,
  packedShapeProblems,
  unpackZeros,
} from '../../src/formats/compressed-tensors/pack-quantized-layer.js';
import { viewBytes } from '../../src/io/byte-views.js';
import { expectValid, hex, makeAffine, stored } from './affine-records.js';

const CASES = [
  { n: 1, k: 8, bits: 4, groupSize: 8, symmetric: true },
  { n: 9, k: 48, bits: 4, groupSize: 16, symmetric: false },
  { n: 35, k: 72, bits: 4, groupSize: 36, symmetric: true, signed: true },
  { n: 5, k: 12, bits: 8, groupSize: 12, symmetric: false, signed: true },
  { n: 17, k: 20, bits: 8, groupSize: 4, symmetric: true },
] as const;

function storedLayer(tensors: PackedTensors, record: AffineLinear): StoredPackedLayer {
  const { outFeatures: n, inFeatures: k, bits, groupSize } = record;
  const groups = k / groupSize;
  const { packed, scale, zeroPoint, shape } = tensors;
  return {
    packed: stored('l.weight_packed', 'I32', [n, (k * bits) / 32], packed),
    scale: stored('l.weight_scale', 'F16', [n, groups], scale),
    zeroPoint:
      zeroPoint && stored('l.weight_zero_point', 'I32', [Math.ceil((n * bits) / 32), groups], zeroPoint),
    shape: stored('l.weight_shape', 'I64', [2], shape),
    gIdx: undefined,
  };
}

describe('packed words', () => {
  it('hold signed codes plus 2^(b−1)', () => {
    const signed4 = [-8, -7, -1, 0, 1, 2, 6, 7].map((code) => code + 8);
    const signed8 = [-128, -1, 0, 127].map((code) => code + 128);
    expect(hex(packCodes(signed4, 4))).toEqual(['fea98710']);
    expect(hex(packCodes(signed8, 8))).toEqual(['ff807f00']);
  });

  it('the worked example: eight weights, scale 0.8/7.5', () => {
    const record: AffineLinear = {
      ...makeAffine({ n: 1, k: 8, bits: 4, groupSize: 8, symmetric: true }, 1),
      codes: packCodes(
        [-8, -3, 0, 1, 4, 7, 7, 2].map((code) => code + 8),
        4,
      ),
      scales: Float32Array.of(0.8 / 7.5),
    };
    expect(hex(encodePackedLayer(record, 'l', { symmetric: true, scaleDType: 'F32' }).packed)).toEqual([
      'affc9850',
    ]);
    const expected = [-0.8533333, -0.32, 0, 0.10666667, 0.42666668, 0.74666667, 0.74666667, 0.21333334];
    [...dequantizeLinear(record)].forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i], 6);
    });
  });

  // As compressed_tensors.compressors.pack_quantized.helpers.pack_to_int32(packed_dim=0) of release 0.20 packs them.
  it('zero points run down the rows, the last word padded with 0', () => {
    const four = Uint8Array.from({ length: 18 }, (_, i) => (3 * (i >> 1) + 5 * (i % 2)) % 16);
    expect(hex(packZeros(four, { outFeatures: 9, groups: 2, bits: 4 }))).toEqual([
      '52fc9630',
      'a741eb85',
      '00000008',
      '0000000d',
    ]);
    const eight = Uint8Array.from({ length: 10 }, (_, i) => (30 * (i >> 1) + 50 * (i % 2)) % 256);
    const words = packZeros(eight, { outFeatures: 5, groups: 2, bits: 8 });
    expect(hex(words)).toEqual(['5a3c1e00', '8c6e5032', '00000078', '000000aa']);
    expect(unpackZeros(words, { outFeatures: 5, groups: 2, bits: 8 })).toEqual(eight);
  });
});

/** Weight of row n, column k by the words of the specification. */
function readWeight(t: PackedTensors, record: AffineLinear, n: number, k: number): number {
  const { inFeatures, groupSize, bits } = record;
  const perWord = 32 / bits;
  const field = (word: number, at: number): number =>
    Math.floor(word / 2 ** (bits * (at % perWord))) % 2 ** bits;
  const groups = inFeatures / groupSize;
  const group = Math.floor(k / groupSize);
  const offset = 2 ** (bits - 1);
  const code = field(t.packed[(n * inFeatures + k - (k % perWord)) / perWord], k) - offset;
  const zeros = t.zeroPoint;
  const zero = zeros === undefined ? 0 : field(zeros[Math.floor(n / perWord) * groups + group], n) - offset;
  return Math.fround(f16ToF32(viewBytes(t.scale, Uint16Array)[n * groups + group]) * (code - zero));
}

describe.each(CASES)('$n × $k, $bits bits, groups of $groupSize, symmetric $symmetric', (shape) => {
  const { bits, groupSize, symmetric, n, k } = shape;
  const record = makeAffine(shape, n * k);
  const tensors = encodePackedLayer(record, 'l', { symmetric, scaleDType: 'F16' });

  it('survives both directions', () => {
    const decoded = decodePackedLayer(storedLayer(tensors, record), { bits, groupSize, symmetric });
    expect(decoded).toEqual(record);
    expectValid(decoded);
    expect(encodePackedLayer(decoded, 'l', { symmetric, scaleDType: 'F16' })).toEqual(tensors);
  });

  it('means the same weights to a plain reader', () => {
    const expected = dequantizeLinear(record);
    expect(expected.map((_, i) => readWeight(tensors, record, Math.floor(i / k), i % k))).toEqual(expected);
  });

  it('zero points are stored only where asymmetric', () => {
    expect(tensors.zeroPoint === undefined).toBe(symmetric);
    expect([...tensors.shape]).toEqual([BigInt(n), BigInt(k)]);
  });
});

describe('variants of other programs', () => {
  const record = makeAffine({ n: 6, k: 32, bits: 4, groupSize: 8 }, 11);
  const layer = storedLayer(encodePackedLayer(record, 'l', { symmetric: false, scaleDType: 'F16' }), record);
  const scheme = { bits: 4, groupSize: 8, symmetric: false } as const;

  it('I8 zero points, one a byte', () => {
    const zeros = Int8Array.from(record.zeros, (zero) => zero - 8);
    expect(decodePackedLayer({ ...layer, zeroPoint: stored('z', 'I8', [6, 4], zeros) }, scheme)).toEqual(
      record,
    );
    const bad = stored('z', 'I8', [6, 4], zeros.with(5, 8));
    expect(() => decodePackedLayer({ ...layer, zeroPoint: bad }, scheme)).toThrow(
      /byte 1005: element 5: zero point 8/,
    );
  });

  it('I32 weight_shape', () => {
    const shape = stored('s', 'I32', [2], Int32Array.of(6, 32));
    expect(decodePackedLayer({ ...layer, shape }, scheme)).toEqual(record);
  });

  it('flat scales of one group per channel, and group size −1', () => {
    const channel = makeAffine({ n: 6, k: 32, bits: 8, groupSize: 32, symmetric: true }, 12);
    const tensors = encodePackedLayer(channel, 'l', { symmetric: true, scaleDType: 'F32' });
    const scale = stored('s', 'F32', [6], channel.scales);
    const decoded = decodePackedLayer(
      { ...storedLayer(tensors, channel), scale },
      { bits: 8, groupSize: -1, symmetric: true },
    );
    expect(decoded).toEqual(channel);
  });

  it('needless zero points of a symmetric scheme must be 0', () => {
    const symmetric = { ...scheme, symmetric: true };
    const middle = packZeros(new Uint8Array(24).fill(8), { outFeatures: 6, groups: 4, bits: 4 });
    const zeroPoint = stored('z', 'I32', [1, 4], middle);
    expect(decodePackedLayer({ ...layer, zeroPoint }, symmetric).zeros.every((zero) => zero === 8)).toBe(
      true,
    );
    expect(() => decodePackedLayer(layer, symmetric)).toThrow(/although the scheme is symmetric/);
    const bytes = stored('z', 'I8', [6, 4], new Int8Array(24));
    expect(
      decodePackedLayer({ ...layer, zeroPoint: bytes }, symmetric).zeros.every((zero) => zero === 8),
    ).toBe(true);
  });

  it('g_idx of act-order, and its −1 where unused', () => {
    const groups = Int32Array.from({ length: 32 }, (_, k) => (k * 5) % 4);
    const gIdx = stored('g', 'I32', [32], groups);
    expect(decodePackedLayer({ ...layer, gIdx }, scheme)).toEqual({
      ...record,
      groupOf: Uint32Array.from(groups),
    });
    const unused = stored('g', 'I32', [32], new Int32Array(32).fill(-1));
    expect(decodePackedLayer({ ...layer, gIdx: unused }, scheme)).toEqual(record);
    const outside = stored('g', 'I32', [32], groups.with(7, 4));
    expect(() => decodePackedLayer({ ...layer, gIdx: outside }, scheme)).toThrow(
      /byte 1028: element 7: group 4, 0 to 3/,
    );
    const uneven = stored('g', 'I32', [32], groups.with(0, 1));
    expect(() => decodePackedLayer({ ...layer, gIdx: uneven }, scheme)).toThrow(
      /group 0 has 7 columns, 8 expected/,
    );
  });
});

// Written by compressed-tensors 0.15, which still packed act-order groups; what it decompressed them to.
it('g_idx means what the library that wrote it says', () => {
  const layer: StoredPackedLayer = {
    packed: stored('p', 'I32', [2, 2], Uint32Array.of(0x42771c41, 0x2e53782d, 0xf1fbbff0, 0xd0f37dcf)),
    scale: stored('s', 'F32', [2, 2], Float32Array.of(0.25, 0.5, 0.125, 0.25)),
    zeroPoint: stored('z', 'I32', [1, 2], Uint32Array.of(0x89, 0xf5)),
    shape: stored('h', 'I64', [2], BigInt64Array.of(2n, 16n)),
    gIdx: stored(
      'g',
      'I32',
      [16],
      Int32Array.from({ length: 16 }, (_, k) => k % 2),
    ),
  };
  const record = decodePackedLayer(layer, { bits: 4, groupSize: 8, symmetric: false });
  expect([...dequantizeLinear(record)]).toEqual([
    ...[-2, -0.5, 0.75, -2, -0.5, 1, -1.75, -0.5, 1, -1.5, -0.25, 1, -1.5, 0, 1.25, -1.5],
    ...[-1, 0, 0.875, -1, 0.375, 0, -0.875, 0, 0.875, -0.75, 0.625, -2, -0.625, 0, -1, -0.5],
  ]);
});

describe('what does not fit', () => {
  const record = makeAffine({ n: 6, k: 32, bits: 4, groupSize: 8 }, 13);
  const layer = storedLayer(encodePackedLayer(record, 'l', { symmetric: false, scaleDType: 'F16' }), record);
  const scheme = { bits: 4, groupSize: 8, symmetric: false } as const;
  const decode =
    (changes: Partial<StoredPackedLayer>, other: object = {}) =>
    () =>
      decodePackedLayer({ ...layer, ...changes }, { ...scheme, ...other });

  it('in a file is told with its place', () => {
    expect(decode({}, { groupSize: 16 })).toThrow(
      /x\.safetensors, tensor "l\.weight_packed".*\n.*\[6, 2\] expected, \[6, 4\]/,
    );
    expect(decode({}, { bits: 8 })).toThrow(/l\.weight_scale: shape \[6, 2\]/);
    expect(decode({}, { groupSize: 5 })).toThrow(/does not divide/);
    expect(decode({ zeroPoint: undefined })).toThrow(/asymmetric, and there is no weight_zero_point/);
    expect(decode({ zeroPoint: stored('z', 'I32', [2, 4], new Uint32Array(8)) })).toThrow(
      /\[1, 4\] expected, \[2, 4\]/,
    );
    expect(decode({ shape: stored('s', 'I64', [2], BigInt64Array.of(6n, 30n)) })).toThrow(
      /6 × 32, this tensor says 6 × 30/,
    );
    expect(decode({ shape: stored('s', 'F32', [2], new Float32Array(2)) })).toThrow(
      /I64 or I32 expected, F32/,
    );
    expect(decode({ scale: stored('s', 'F16', [6, 4], new Uint16Array(24).fill(0x7c00)) })).toThrow(
      /byte 1000: element 0/,
    );
    expect(decode({ packed: stored('p', 'I32', [24], new Uint32Array(24)) })).toThrow(FormatError);
    expect(decode({ packed: stored('p', 'I32', [0, 4], new Uint32Array(0)) })).toThrow(/out_features 0/);
  });

  it('in a record is refused with all reasons', () => {
    const encode =
      (changes: Partial<AffineLinear>, symmetric = false) =>
      () =>
        encodePackedLayer({ ...record, ...changes }, 'model.l', { symmetric, scaleDType: 'F16' });
    expect(encode({})).not.toThrow();
    expect(encode({ bits: 3 })).toThrow(/model\.l.*\n.*4 and 8 bits can be held, not 3/);
    expect(encode({}, true)).toThrow(/8 expected/);
    expect(encode({ groupOf: record.groupOf.with(31, 0) })).toThrow(/column 31 is in group 0/);
    expect(encode({ scales: record.scales.with(2, 0.1), zeros: record.zeros.with(1, 16) })).toThrow(
      /zero point 16 at element 1, 0 to 15 expected\n.*scale 0.1.* at element 2/,
    );
    expect(encode({ scales: record.scales.with(2, NaN) })).toThrow(/scale NaN/);
    expect(encode({ codes: record.codes.subarray(1) })).toThrow(/23 words/);
    expect(packedShapeProblems({ inFeatures: 30, groupSize: 7, bits: 4 })).toHaveLength(2);
  });
});
