// Plan: words equal the golden vectors of the format; a layer survives both directions for every width and format; a
// plain per-element reader agrees with the file tensors; what readers disagree about is refused.
import { describe, expect, it } from 'vitest';
import { f16ToF32, f32ToF16, roundToF16 } from '../../src/core/dtype.js';
import { FormatError } from '../../src/core/errors.js';
import { createRng } from '../../src/core/rng.js';
import type { GptqBits } from '../../src/formats/gptq/gptq-config.js';
import { packCodes, unpackCodes } from '../../src/core/code-stream.js';
import { parseGptqConfig } from '../../src/formats/gptq/gptq-config.js';
import type { GptqLayer, GptqTensors } from '../../src/formats/gptq/gptq-layer.js';
import { decodeGptqLayer, encodeGptqLayer, gptqShapeProblem } from '../../src/formats/gptq/gptq-layer.js';
import { transpose } from '../../src/formats/gptq/transpose.js';

const ALL_BITS: GptqBits[] = [2, 3, 4, 8];

function hex(words: Uint32Array): string[] {
  return [...words].map((word) => word.toString(16).padStart(8, '0'));
}

/** A layer of noise; act-order-like groups when `shuffled`. */
function makeLayer(bits: GptqBits, n: number, k: number, groups: number, seed: number): GptqLayer {
  const rng = createRng(seed);
  const codes = new Uint32Array((n * k * bits) / 32);
  const rowWords = (k * bits) / 32;
  for (let row = 0; row < n; row++) {
    const rowCodes = Uint8Array.from({ length: k }, () => rng.int(2 ** bits));
    codes.set(packCodes(rowCodes, bits), row * rowWords);
  }
  return {
    outFeatures: n,
    inFeatures: k,
    bits,
    codes,
    scales: Float32Array.from({ length: n * groups }, () => roundToF16(0.001 + rng.next())),
    zeros: Uint8Array.from({ length: n * groups }, () => 1 + rng.int(2 ** bits - 1)),
    groupOf: Uint32Array.from({ length: k }, () => rng.int(groups)),
  };
}

describe('packCodes', () => {
  it('gives the golden words', () => {
    expect(hex(packCodes([1, 2, 3, 4, 5, 6, 7, 8], 4))).toEqual(['87654321']);
    expect(
      hex(
        packCodes(
          Uint8Array.from({ length: 32 }, (_, i) => i % 8),
          3,
        ),
      ),
    ).toEqual(['88fac688', 'c688fac6', 'fac688fa']);
    expect(hex(packCodes([1, 5, 8, 9, 12, 15, 15, 10], 4))).toEqual(['affc9851']);
  });

  it.each([
    [2, 2, ['aaaaaaaa'], ['55555555']],
    [3, 4, ['24924924', '49249249', '92492492'], ['db6db6db', 'b6db6db6', '6db6db6d']],
    [4, 8, ['88888888'], ['77777777']],
    [8, 128, ['80808080'], ['7f7f7f7f']],
  ] as const)('%d bits: the symmetric zero words of v2 and v1', (bits, zero, v2, v1) => {
    const words = v2.length * 32;
    expect(hex(packCodes(new Uint8Array(words / bits).fill(zero), bits))).toEqual(v2);
    expect(hex(packCodes(new Uint8Array(words / bits).fill(zero - 1), bits))).toEqual(v1);
  });

  it.each(ALL_BITS)('%d bits: survives unpacking, whole or from a later word', (bits) => {
    const rng = createRng(bits);
    const codes = Uint8Array.from({ length: 96 }, () => rng.int(2 ** bits));
    const words = packCodes(codes, bits);
    expect(words.length).toBe(3 * bits);
    expect(unpackCodes(words, bits, 96)).toEqual(codes);
    expect(unpackCodes(words, bits, 32, bits)).toEqual(codes.slice(32, 64));
  });
});

describe('transpose', () => {
  it.each([
    [1, 1],
    [31, 33],
    [32, 64],
    [100, 7],
  ])('%d × %d', (rows, cols) => {
    const from = Float32Array.from({ length: rows * cols }, (_, i) => i);
    const to = new Float32Array(rows * cols);
    transpose(from, to, rows, cols);
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) expect(to[c * rows + r]).toBe(r * cols + c);
  });
});

/** Code and zero of one weight, read from the file tensors by the words of the specification alone. */
function readWeight(
  t: GptqTensors,
  bits: GptqBits,
  n: number,
  at: { row: number; col: number; v1: boolean },
): number {
  const field = (words: Uint32Array, bit: number, wordIndex: (word: number) => number): number => {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const word = words[wordIndex(Math.floor((bit + i) / 32))];
      value += (Math.floor(word / 2 ** ((bit + i) % 32)) % 2) * 2 ** i;
    }
    return value;
  };
  const group = t.gIdx[at.col];
  const code = field(t.qweight, at.col * bits, (word) => word * n + at.row);
  const zero = field(t.qzeros, at.row * bits, (word) => (group * n * bits) / 32 + word) + (at.v1 ? 1 : 0);
  return f16ToF32(t.scales[group * n + at.row]) * (code - zero);
}

describe.each(ALL_BITS)('a layer of %d bits', (bits) => {
  const layer = makeLayer(bits, 64, 96, 3, 100 + bits);

  it.each(['gptq', 'gptq_v2'] as const)('survives %s in both directions', (format) => {
    const tensors = encodeGptqLayer(layer, 'l', format);
    expect(tensors.qweight.length).toBe(((96 * bits) / 32) * 64);
    expect(tensors.qzeros.length).toBe(3 * ((64 * bits) / 32));
    expect(decodeGptqLayer(tensors, { name: 'l', bits, format, file: 'f' })).toEqual(layer);
  });

  it.each(['gptq', 'gptq_v2'] as const)('means the same weights to a plain reader of %s', (format) => {
    const tensors = encodeGptqLayer(layer, 'l', format);
    for (let row = 0; row < 64; row += 7) {
      const codes = unpackCodes(layer.codes, bits, 96, (row * 96 * bits) / 32);
      for (let col = 0; col < 96; col++) {
        const at = row * 3 + layer.groupOf[col];
        const expected = layer.scales[at] * (codes[col] - layer.zeros[at]);
        expect(readWeight(tensors, bits, 64, { row, col, v1: format === 'gptq' })).toBe(expected);
      }
    }
  });

  it('holds the largest zero point in both, and 0 in v2 only', () => {
    const largest = { ...layer, zeros: layer.zeros.map(() => 2 ** bits - 1) };
    for (const format of ['gptq', 'gptq_v2'] as const) {
      const tensors = encodeGptqLayer(largest, 'l', format);
      expect(decodeGptqLayer(tensors, { name: 'l', bits, format, file: 'f' }).zeros).toEqual(largest.zeros);
    }
    const zeros = layer.zeros.slice();
    zeros[17] = 0;
    const withZero = { ...layer, zeros };
    const tensors = encodeGptqLayer(withZero, 'l', 'gptq_v2');
    expect(decodeGptqLayer(tensors, { name: 'l', bits, format: 'gptq_v2', file: 'f' }).zeros).toEqual(zeros);
    const error = ((): unknown => {
      try {
        return encodeGptqLayer(withZero, 'model.l', 'gptq');
      } catch (reason) {
        return reason;
      }
    })();
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toContain('"model.l": zero point 0 at row 5, group 2');
    expect((error as FormatError).advice).toContain('gptq_v2');
  });
});

describe('encodeGptqLayer', () => {
  const layer = makeLayer(4, 32, 64, 2, 9);

  it('gives the worked example', () => {
    const codes = new Uint32Array(32 * 4);
    codes[0] = 0xaffc9851;
    const scales = new Float32Array(32).fill(f16ToF32(0x2ed4));
    const example = {
      outFeatures: 32,
      inFeatures: 32,
      bits: 4,
      codes,
      scales,
      zeros: new Uint8Array(32).fill(8),
      groupOf: new Uint32Array(32),
    } as const;
    const tensors = encodeGptqLayer(example, 'l', 'gptq');
    expect(tensors.scales[0]).toBe(0x2ed4);
    const expected = [
      -0.74682617, -0.32006836, 0, 0.10668945, 0.42675781, 0.74682617, 0.74682617, 0.21337891,
    ];
    expected.forEach((value, col) => {
      expect(readWeight(tensors, 4, 32, { row: 0, col, v1: true })).toBeCloseTo(value, 8);
    });
  });

  it.each([
    [
      'a scale float16 cannot hold',
      { scales: layer.scales.map((s, i) => (i === 3 ? 0.1 : s)) },
      /at element 3 is no float16/,
    ],
    ['a NaN scale', { scales: layer.scales.map((s, i) => (i === 3 ? NaN : s)) }, /scale NaN/],
    ['an infinite scale', { scales: layer.scales.map((s, i) => (i === 3 ? Infinity : s)) }, /scale Infinity/],
    [
      'a zero out of range',
      { zeros: layer.zeros.map((z, i) => (i === 2 ? 16 : z)) },
      /zero point 16 at row 1, group 0/,
    ],
    [
      'a group out of range',
      { groupOf: layer.groupOf.map((g, i) => (i === 5 ? 2 : g)) },
      /column 5 is in group 2 of 2/,
    ],
    ['too few words', { codes: layer.codes.slice(1) }, /255 words of codes, 256 expected/],
    ['too few zeros', { zeros: layer.zeros.slice(1) }, /64 scales and 63 zeros/],
    ['too few columns in g_idx', { groupOf: layer.groupOf.slice(1) }, /63 entries of g_idx for 64/],
    ['ragged rows', { outFeatures: 31 }, /out_features 31/],
  ])('refuses %s', (_, change, message) => {
    expect(() => encodeGptqLayer({ ...layer, ...change }, 'l', 'gptq')).toThrow(message);
  });
});

describe('decodeGptqLayer', () => {
  const tensors = encodeGptqLayer(makeLayer(4, 32, 64, 2, 9), 'l', 'gptq');
  it.each([
    ['bits of another config', {}, 8 as const],
    ['a truncated qweight', { qweight: tensors.qweight.slice(1) }, 4 as const],
    ['a truncated qzeros', { qzeros: tensors.qzeros.slice(1) }, 4 as const],
    ['a truncated scales', { scales: tensors.scales.slice(1) }, 4 as const],
    ['a negative group', { gIdx: tensors.gIdx.map((g, i) => (i === 1 ? -1 : g)) }, 4 as const],
    ['a group too large', { gIdx: tensors.gIdx.map((g, i) => (i === 1 ? 2 : g)) }, 4 as const],
    ['no columns', { gIdx: new Int32Array(0) }, 4 as const],
  ])('refuses %s', (_, change, bits) => {
    const decode = () =>
      decodeGptqLayer({ ...tensors, ...change }, { name: 'm.l', bits, format: 'gptq', file: 'f' });
    expect(decode).toThrow(/^f, tensor "m\.l": the GPTQ tensors do not fit together/);
  });

  it('reads an all-ones v1 field as zero point 0', () => {
    const wrapped = { ...tensors, qzeros: tensors.qzeros.map(() => 0xffffffff) };
    const { zeros } = decodeGptqLayer(wrapped, { name: 'l', bits: 4, format: 'gptq', file: 'f' });
    expect(new Set(zeros)).toEqual(new Set([0]));
  });
});

describe('gptqShapeProblem', () => {
  it.each([
    [32, 64, 32, undefined],
    [32, 64, -1, undefined],
    [32, 48, 16, /in_features 48 is not a multiple of 32/],
    [48, 64, 16, /out_features 48/],
    [32, 96, 64, /group size 64 does not divide in_features 96/],
    [32, 64, 0, /neither/],
    [32, 64, 1.5, /neither/],
  ])('N %d, K %d, group %d', (outFeatures, inFeatures, groupSize, expected) => {
    const problem = gptqShapeProblem({ outFeatures, inFeatures, groupSize, bits: 4 });
    if (expected === undefined) expect(problem).toBeUndefined();
    else expect(problem).toMatch(expected);
  });
});

describe('parseGptqConfig', () => {
  const minimal = { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: false, sym: true };

  it('reads old and new spellings', () => {
    const expected = {
      bits: 4,
      groupSize: 128,
      descAct: false,
      symmetric: true,
      checkpointFormat: 'gptq',
      lmHead: false,
    };
    expect(parseGptqConfig(minimal, 'f')).toEqual({ ...expected, dynamic: new Map() });
    const modern = {
      method: 'gptq',
      format: 'gptq_v2',
      bits: 3,
      group_size: -1,
      desc_act: true,
      sym: false,
      lm_head: true,
      dynamic: { '-:^a$': {} },
    };
    expect(parseGptqConfig(modern, 'f')).toEqual({
      ...{
        bits: 3,
        groupSize: -1,
        descAct: true,
        symmetric: false,
        checkpointFormat: 'gptq_v2',
        lmHead: true,
      },
      dynamic: new Map([['-:^a$', {}]]),
    });
  });

  it('lists all that it cannot read', () => {
    const bad = {
      quant_method: 'awq',
      checkpoint_format: 'marlin',
      bits: 5,
      group_size: 0,
      pack_dtype: 'int16',
      sym: 'yes',
      is_marlin_format: true,
      dynamic: [],
    };
    for (const key of Object.keys(bad))
      expect(() => parseGptqConfig(bad, 'quantize_config.json')).toThrow(`${key}:`);
    expect(() => parseGptqConfig({}, 'quantize_config.json')).toThrow(
      /^quantize_config\.json.*bits: 2, 3, 4 or 8/s,
    );
  });
});

it('float16 conversion used by the goldens is itself right', () => {
  expect(f32ToF16(1.6 / 15)).toBe(0x2ed4);
});
