// Plan: golden blocks of ggml decode to its values and encode to the same bytes; any bytes with finite scales survive both
// directions for every type, ragged row counts and row orders; what a block cannot hold is refused with its place.
import { describe, expect, it } from 'vitest';
import { unpackCodes } from '../../../src/core/code-stream.js';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import { gridOf } from '../../../src/core/describe-grid.js';
import { f32ToF16 } from '../../../src/core/dtype.js';
import { FormatError } from '../../../src/core/errors.js';
import type { AffineLinear, QuantizedLinear } from '../../../src/core/quantized-linear.js';
import { createRng } from '../../../src/core/rng.js';
import type { BlockType } from '../../../src/formats/gguf/block-types.js';
import { BLOCK_TYPES, rowBytes } from '../../../src/formats/gguf/block-types.js';
import { blockTypeOf, type WritableBlockType } from '../../../src/formats/gguf/blocks/block-type-of.js';
import { createRowDecoder } from '../../../src/formats/gguf/blocks/row-decoder.js';
import { createRowEncoder } from '../../../src/formats/gguf/blocks/row-encoder.js';

const WRITABLE = Object.keys(BLOCK_TYPES).filter((type) => type !== 'Q5_K') as WritableBlockType[];

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.replaceAll(' ', '').match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function decode(type: BlockType, bytes: Uint8Array, inFeatures: number): QuantizedLinear {
  const outFeatures = bytes.length / rowBytes(type, inFeatures);
  const decoder = createRowDecoder({
    ...{ type, outFeatures, inFeatures, file: 'x.gguf', tensor: 't', offset: 1000 },
  });
  decoder.decode(0, bytes);
  return decoder.record;
}

function encode(type: WritableBlockType, record: QuantizedLinear): Uint8Array {
  return createRowEncoder(record, { type, name: 't' }).encode(0, record.outFeatures);
}

/** Places of float16 numbers in a block. */
const HALVES: Record<BlockType, number[]> = {
  ...{ Q4_0: [0], Q4_1: [0, 2], Q5_0: [0], Q5_1: [0, 2], Q8_0: [0] },
  ...{ Q4_K: [0, 2], Q5_K: [0, 2], Q6_K: [208] },
};

/** Noise whose scales are finite: normal, subnormal, zero and negative zero. */
function randomRows(type: BlockType, rows: number, inFeatures: number, seed: number): Uint8Array {
  const rng = createRng(seed);
  const bytes = Uint8Array.from({ length: rows * rowBytes(type, inFeatures) }, () => rng.int(256));
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += BLOCK_TYPES[type].bytes)
    for (const half of HALVES[type]) {
      const exponent = rng.int(31);
      const fraction = rng.int(4) === 0 ? 0 : rng.int(1024);
      view.setUint16(at + half, (rng.int(2) << 15) | (exponent << 10) | fraction, true);
    }
  return bytes;
}

const SIMPLE_GOLDEN: [WritableBlockType, string][] = [
  ['Q4_0', '00 38 80 91 91 a2 a2 b3 b3 c4 c4 d5 d5 e6 e6 f7 f7 f8'],
  ['Q4_1', '22 38 00 c4 80 80 91 91 a2 a2 b3 b3 c4 c4 d5 d5 e6 e6 f7 f7'],
  ['Q5_0', '00 34 00 00 ff ff 00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff'],
  [
    'Q8_0',
    '08 28 81 89 91 99 a1 a9 b1 b9 c0 c8 d0 d8 e0 e8 f0 f8 00 08 10 18 20 28 30 38 40 47 4f 57 5f 67 6f 77',
  ],
];

const Q4_K =
  'de1a2c26fefffffcfffdfefecfdcfffea0156bc1278cd3489e045ab0167bc2378de349ae056ab1267cd2389de459af15268ce248ad0459b0157bd1379ce348ae046ac0267bd2379df359be156ac1268c9df359be157ac1268ce248ad0459b0157bd1379ce348ae046ab0267bd2379df3156ac1268cd2489df459b0157bc1378ce348ae046ab0267bd2379de359ae156a';
const Q6_K =
  'd158bf37be25ad048b047bf37ad159d0c941ea63eb74fb741d951ea72fc841c9bf35ad169b048df26be069d147cf38bd1a922c840d85ed77ff57d038b04aa22b67df58c139b22aa22b931c85fd76ee57ce5ad137b31a902c830f86ec78ff55d1c841da62eb63fc840d951ea63fb840c9d129b30b931c74fe86de67ff47d129b118b1c66cb11b6c861b71c61cb1c76cb22453f9248ef9138ef4538d2452f9248ed4a209d47e09a37e14a349d4ae09d77ec863be1463c9147ec923bec463bd1463807f897a867a84877f737d7a81877c89758e';

describe('golden blocks of ggml', () => {
  it.each(SIMPLE_GOLDEN)('%s', (type, hex) => {
    const bytes = fromHex(hex);
    const record = decode(type, bytes, 32);
    const values = dequantizeLinear(record);
    const step = type === 'Q8_0' ? 0.02 : type === 'Q5_0' ? 1e-6 : 0.5;
    values.forEach((value, i) => {
      expect(Math.abs(value - (i - 16) / 4)).toBeLessThanOrEqual(step);
    });
    expect([...encode(type, record)]).toEqual([...bytes]);
  });

  it('Q4_0 gives the values of ggml', () => {
    const values = dequantizeLinear(decode('Q4_0', fromHex(SIMPLE_GOLDEN[0][1]), 32));
    expect([...values.subarray(0, 4)]).toEqual([-4, -3.5, -3.5, -3]);
  });

  it('Q4_K', () => {
    const record = decode('Q4_K', fromHex(Q4_K), 256);
    if (record.kind !== 'k-quant') throw new Error('k-quant expected');
    expect([...record.scales]).toEqual([62, 63, 63, 60, 63, 60, 63, 62]);
    expect([...record.mins]).toEqual([63, 61, 62, 62, 60, 61, 63, 63]);
    expect([...unpackCodes(record.codes, 4, 6)]).toEqual([0, 5, 11, 1, 7, 12]);
    const expected = Float32Array.of(-1.5188599, -0.479393, 0.7679672, -1.3109665);
    expect([...dequantizeLinear(record).subarray(0, 4)]).toEqual([...expected]);
    expect([...encode('Q4_K', record)]).toEqual([...fromHex(Q4_K)]);
  });

  it('Q6_K', () => {
    const record = decode('Q6_K', fromHex(Q6_K), 256);
    if (record.kind !== 'k-quant') throw new Error('k-quant expected');
    expect([...record.scales.subarray(0, 4)]).toEqual([-128, 127, -119, 122]);
    expect([...unpackCodes(record.codes, 6, 6)].map((code) => code - 32)).toEqual([-31, -8, 15, -25, -2, 21]);
    const expected = Float32Array.of(-1.5638123, -0.40356445, 0.75668335, -1.2611389);
    expect([...dequantizeLinear(record).subarray(0, 4)]).toEqual([...expected]);
    expect([...encode('Q6_K', record)]).toEqual([...fromHex(Q6_K)]);
  });
});

describe('blocks → record → blocks', () => {
  it.each(WRITABLE)('%s keeps every byte', (type) => {
    for (const [rows, k] of [
      [1, 256],
      [5, 512],
      [7, 256 * 3],
    ] as const) {
      // prettier-ignore
      const bytes = randomRows(type, rows, k, rows + k);
      const record = decode(type, bytes, k);
      expect([...encode(type, record)]).toEqual([...bytes]);
      expect(blockTypeOf(gridOf(record), k)).toBe(type);
    }
  });

  it('takes rows in any order and in several runs', () => {
    const [rows, k] = [6, 64];
    const bytes = randomRows('Q5_1', rows, k, 3);
    const rowOrder = (row: number): number => (row * 5) % rows;
    const shape = { outFeatures: rows, inFeatures: k, file: 'x', tensor: 't', offset: 0 };
    const decoder = createRowDecoder({ type: 'Q5_1', ...shape, rowOrder });
    const width = rowBytes('Q5_1', k);
    decoder.decode(0, bytes.subarray(0, 2 * width));
    decoder.decode(2, bytes.subarray(2 * width));
    const plain = decode('Q5_1', bytes, k);
    for (let row = 0; row < rows; row++)
      expect([...dequantizeLinear(decoder.record, { first: rowOrder(row), rows: 1 })]).toEqual([
        ...dequantizeLinear(plain, { first: row, rows: 1 }),
      ]);
    const encoder = createRowEncoder(decoder.record, { type: 'Q5_1', name: 't', rowOrder });
    expect([...encoder.encode(0, 4), ...encoder.encode(4, 2)]).toEqual([...bytes]);
  });

  it('a wider group is a repeated scale', () => {
    const record = decode('Q4_0', randomRows('Q4_0', 2, 64, 1), 64) as AffineLinear;
    const wide: AffineLinear = {
      ...record,
      groupSize: 64,
      scales: Float32Array.of(0.5, -2),
      zeros: new Uint8Array(2).fill(8),
      groupOf: new Uint32Array(64),
    };
    expect(blockTypeOf(gridOf(wide), 64)).toBe('Q4_0');
    expect([...dequantizeLinear(decode('Q4_0', encode('Q4_0', wide), 64))]).toEqual([
      ...dequantizeLinear(wide),
    ]);
  });

  it('Q5_K is read as five bits with real minima', () => {
    const bytes = randomRows('Q5_K', 1, 256, 9);
    const record = decode('Q5_K', bytes, 256);
    const view = new DataView(bytes.buffer);
    const half = (at: number): number => dequantHalf(view.getUint16(at, true));
    const s = bytes.subarray(4, 16);
    const values = dequantizeLinear(record);
    for (let e = 0; e < 256; e++) {
      const [j, i] = [e >> 5, e & 31];
      const scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
      const min = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
      const nibble = (bytes[48 + 32 * (j >> 1) + i] >> (4 * (j & 1))) & 15;
      const code = nibble | (((bytes[16 + i] >> j) & 1) << 4);
      const product = Math.fround(Math.fround(half(0) * scale) * code);
      expect(values[e]).toBe(Math.fround(product - Math.fround(half(2) * min)));
    }
  });
});

function dequantHalf(bits: number): number {
  const magnitude =
    (bits & 0x7c00) === 0
      ? (bits & 1023) * 2 ** -24
      : (1 + (bits & 1023) / 1024) * 2 ** (((bits >> 10) & 31) - 15);
  return bits & 0x8000 ? -magnitude : magnitude;
}

describe('refusals', () => {
  it('a scale that is not finite, with its byte', () => {
    const bytes = randomRows('Q4_0', 3, 64, 5);
    new DataView(bytes.buffer).setUint16(3 * 18, 0x7c00, true);
    const problem = (): unknown => decode('Q4_0', bytes, 64);
    expect(problem).toThrow(FormatError);
    expect(problem).toThrow(/x\.gguf, tensor "t", byte 1054: .*row 1, block 1 \(Q4_0\) is not finite/);
  });

  it.each([
    ['a scale beyond float16', { scales: Float32Array.of(1e6, 1) }, /scale 1000000 at row 0, block 0/],
    [
      'a scale between float16 values',
      { scales: Float32Array.of(1, 0.1) },
      /row 0, block 1 is no finite float16/,
    ],
    ['NaN', { scales: Float32Array.of(1, NaN) }, /scale NaN/],
    ['a zero point', { zeros: Uint8Array.of(8, 7) }, /zero point 7 at element 1/],
    ['act-order groups', { groupOf: new Uint32Array(64).fill(1) }, /column 0 is in group 1/],
    ['another width', { bits: 8 as const }, /Q4_0 has 4 bits, the record 8/],
    ['half a block per group', { groupSize: 16 }, /groups of 16/],
    ['too few codes', { codes: new Uint32Array(4) }, /4 words and 2 scales/],
  ])('%s', (_, change, message) => {
    const record = decode('Q4_0', randomRows('Q4_0', 1, 64, 1), 64) as AffineLinear;
    const damaged = { ...record, scales: Float32Array.of(1, 1), ...change };
    expect(() => encode('Q4_0', damaged)).toThrow(message);
  });

  it('a record of another kind', () => {
    const record = decode('Q4_1', randomRows('Q4_1', 1, 64, 1), 64);
    expect(() => encode('Q4_0', record)).toThrow(/affine-min record cannot be written as Q4_0/);
  });

  it('float16 conversion is that of core', () => {
    const record = decode('Q4_0', fromHex(`${'0100'}${'00'.repeat(16)}`), 32) as AffineLinear;
    expect(f32ToF16(record.scales[0])).toBe(1);
  });
});
