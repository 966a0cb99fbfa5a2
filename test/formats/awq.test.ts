// Plan: words equal AutoAWQ's golden ones; a layer survives both directions at ragged sizes; a per-element reader written
// from the specification alone gets the same weights; what the layout cannot hold is refused with all reasons.
import { describe, expect, it } from 'vitest';
import { packCodes } from '../../src/core/code-stream.js';
import { f16ToF32 } from '../../src/core/dtype.js';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { FormatError } from '../../src/core/errors.js';
import type { AffineLinear } from '../../src/core/quantized-linear.js';
import { isAwqConfig, parseAwqConfig } from '../../src/formats/awq/awq-config.js';
import type { AwqTensors, StoredAwqLayer } from '../../src/formats/awq/awq-layer.js';
import { awqShapeProblems, decodeAwqLayer, encodeAwqLayer } from '../../src/formats/awq/awq-layer.js';
import { transposeNibbles } from '../../src/formats/awq/transpose-nibbles.js';
import { expectValid, hex, makeAffine, stored } from './affine-records.js';

const SHAPES = [
  { n: 8, k: 8, groupSize: 8 },
  { n: 24, k: 40, groupSize: 8 },
  { n: 136, k: 264, groupSize: 132 },
  { n: 512, k: 96, groupSize: 96 },
] as const;

function storedLayer(
  tensors: AwqTensors,
  { outFeatures: n, inFeatures: k, groupSize }: AffineLinear,
): StoredAwqLayer {
  const groups = k / groupSize;
  return {
    qweight: stored('l.qweight', 'I32', [k, n / 8], tensors.qweight),
    qzeros: stored('l.qzeros', 'I32', [groups, n / 8], tensors.qzeros),
    scales: stored('l.scales', 'F16', [groups, n], tensors.scales),
  };
}

/** One row per output column, every column holding the same code. */
function layerOfRows(codes: readonly number[]): AffineLinear {
  const record = makeAffine({ n: codes.length, k: 8, bits: 4, groupSize: 8 }, 1);
  return {
    ...record,
    codes: Uint32Array.from(codes, (code) => packCodes(Array<number>(8).fill(code), 4)[0]),
  };
}

describe('AWQ words', () => {
  it('are the golden ones: columns 0 … 7 holding 0 … 7', () => {
    const tensors = encodeAwqLayer(
      { ...layerOfRows([0, 1, 2, 3, 4, 5, 6, 7]), zeros: Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7) },
      'l',
    );
    expect(hex(tensors.qweight)).toEqual(Array<string>(8).fill('75316420'));
    expect(hex(tensors.qzeros)).toEqual(['75316420']);
  });

  it('put row 0 into bits 0 … 3, row 1 into 16 … 19, row 2 into 4 … 7', () => {
    const worked = [0, 5, 8, 9, 12, 15, 15, 10];
    const record = makeAffine({ n: 8, k: 8, bits: 4, groupSize: 8 }, 2);
    const codes = record.codes.fill(0);
    codes[0] = packCodes(worked, 4)[0];
    expect([...encodeAwqLayer(record, 'l').qweight]).toEqual(worked);
    codes[1] = codes[0];
    codes[2] = codes[0];
    expect([...encodeAwqLayer(record, 'l').qweight]).toEqual(
      worked.map((code) => code * (1 + 0x10000 + 0x10)),
    );
  });
});

/** Weight of row n, column k by the words of the specification: INV = 0 4 1 5 2 6 3 7. */
function readWeight(t: AwqTensors, record: AffineLinear, n: number, k: number): number {
  const { outFeatures, groupSize } = record;
  const inverse = [0, 4, 1, 5, 2, 6, 3, 7][n % 8];
  const field = (word: number): number => Math.floor(word / 16 ** inverse) % 16;
  const group = Math.floor(k / groupSize);
  const column = Math.floor(n / 8);
  const code = field(t.qweight[(k * outFeatures) / 8 + column]);
  const zero = field(t.qzeros[(group * outFeatures) / 8 + column]);
  return Math.fround(f16ToF32(t.scales[group * outFeatures + n]) * (code - zero));
}

describe.each(SHAPES)('an AWQ layer of $n × $k in groups of $groupSize', (shape) => {
  const record = makeAffine({ ...shape, bits: 4, signed: true }, shape.n + shape.k);
  const tensors = encodeAwqLayer(record, 'l');

  it('survives both directions', () => {
    const decoded = decodeAwqLayer(storedLayer(tensors, record), shape.groupSize);
    expect(decoded).toEqual(record);
    expectValid(decoded);
    expect(encodeAwqLayer(decoded, 'l')).toEqual(tensors);
  });

  it('means the same weights to a plain reader', () => {
    const expected = dequantizeLinear(record);
    const actual = expected.map((_, i) => readWeight(tensors, record, Math.floor(i / shape.k), i % shape.k));
    expect(actual).toEqual(expected);
  });
});

it('group size −1 is one group per output column', () => {
  const record = makeAffine({ n: 16, k: 24, bits: 4, groupSize: 24 }, 3);
  expect(decodeAwqLayer(storedLayer(encodeAwqLayer(record, 'l'), record), -1)).toEqual(record);
});

it('reads BF16 and F32 scales too', () => {
  const record = {
    ...makeAffine({ n: 8, k: 16, bits: 4, groupSize: 16 }, 4),
    scales: new Float32Array(8).fill(0.5),
  };
  const layer = storedLayer(encodeAwqLayer(record, 'l'), record);
  const f32 = stored('l.scales', 'F32', [1, 8], record.scales);
  const bf16 = stored('l.scales', 'BF16', [1, 8], new Uint16Array(8).fill(0x3f00));
  expect(decodeAwqLayer({ ...layer, scales: f32 }, 16)).toEqual(record);
  expect(decodeAwqLayer({ ...layer, scales: bf16 }, 16)).toEqual(record);
});

describe('transposeNibbles', () => {
  it.each([
    [8, 8],
    [128, 136],
    [264, 24],
  ])('%d × %d: each code lands where it must', (rows, cols) => {
    const from = Uint32Array.from({ length: (rows * cols) / 8 }, (_, i) => Math.imul(i + 1, 2654435761));
    const order = [0, 1, 2, 3, 4, 5, 6, 7] as const;
    const to = transposeNibbles(from, { rows, cols }, order, order);
    const code = (words: Uint32Array, pitch: number, row: number, col: number): number =>
      (words[(row * pitch) / 8 + Math.floor(col / 8)] >>> (4 * (col % 8))) & 15;
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < cols; c++)
        if (code(to, rows, c, r) !== code(from, cols, r, c)) throw new Error(`row ${r}, column ${c} differs`);
  });
});

describe('what AWQ cannot hold', () => {
  const good = makeAffine({ n: 16, k: 32, bits: 4, groupSize: 16 }, 5);
  const refusal = (record: AffineLinear): string => {
    try {
      encodeAwqLayer(record, 'model.layers.0.q');
    } catch (error) {
      if (error instanceof FormatError) return error.message;
      throw error;
    }
    return 'accepted';
  };

  it('is refused', () => {
    expect(refusal(good)).toBe('accepted');
    expect(refusal(makeAffine({ n: 16, k: 32, bits: 8, groupSize: 16 }, 6))).toContain(
      '4 bits can be held, not 8',
    );
    expect(refusal({ ...good, groupOf: good.groupOf.map((group) => 1 - group) })).toContain(
      'column 0 is in group 1',
    );
    expect(refusal({ ...good, zeros: good.zeros.with(3, 16) })).toContain('zero point 16 at element 3');
    expect(refusal({ ...good, scales: good.scales.with(5, 0.1) })).toContain(
      'at element 5 is no finite float16',
    );
    expect(refusal({ ...good, scales: good.scales.with(5, NaN) })).toContain('scale NaN');
    expect(refusal({ ...good, scales: good.scales.with(5, Infinity) })).toContain('scale Infinity');
    expect(refusal({ ...good, outFeatures: 12 })).toContain('model.layers.0.q');
  });

  it('all reasons of a shape are told', () => {
    expect(awqShapeProblems({ outFeatures: 12, inFeatures: 20, groupSize: 8 })).toHaveLength(3);
    expect(awqShapeProblems({ outFeatures: 0, inFeatures: 0, groupSize: 0 })).toHaveLength(3);
    expect(awqShapeProblems({ outFeatures: 16, inFeatures: 48, groupSize: 16 })).toEqual([]);
  });
});

describe('tensors that do not fit together', () => {
  const record = makeAffine({ n: 16, k: 32, bits: 4, groupSize: 16 }, 7);
  const layer = storedLayer(encodeAwqLayer(record, 'l'), record);
  const decode =
    (changes: Partial<StoredAwqLayer>, groupSize = 16) =>
    () =>
      decodeAwqLayer({ ...layer, ...changes }, groupSize);

  it('name file, tensor and offset', () => {
    expect(decode({}, 32)).toThrow(
      /x\.safetensors, tensor "l\.qweight", byte 1000: .*\n.*l\.qzeros: shape \[1, 2\] expected/,
    );
    expect(decode({}, 7)).toThrow(/group size 7 does not divide/);
    expect(decode({ scales: stored('l.scales', 'F16', [2, 8], new Uint16Array(16)) })).toThrow(
      /l\.scales: shape \[2, 16\]/,
    );
    expect(decode({ qweight: stored('l.qweight', 'I32', [64], new Uint32Array(64)) })).toThrow(
      /out_features 0/,
    );
    expect(decode({ qzeros: stored('l.qzeros', 'F32', [2, 2], new Float32Array(4)) })).toThrow(
      /I32 or U32 expected, F32/,
    );
    const scales = new Float32Array(32).fill(1).with(9, NaN);
    expect(decode({ scales: stored('l.scales', 'F32', [2, 16], scales) })).toThrow(
      /tensor "l\.scales", byte 1036: element 9: a finite number expected, NaN/,
    );
    expect(decode({ scales: stored('l.scales', 'F16', [2, 16], new Uint16Array(31)) })).toThrow(
      /64 bytes expected/,
    );
  });
});

describe('AWQ settings', () => {
  it('today’s keys, AutoAWQ’s old ones and GPTQModel’s are read', () => {
    const today = { quant_method: 'awq', bits: 4, group_size: 128, zero_point: true, version: 'GEMM' };
    const old = { w_bit: 4, q_group_size: -1, zero_point: true };
    const gptqmodel = { method: 'awq', bits: 4, group_size: 32, format: 'gemm', pack_dtype: 'int32' };
    for (const [settings, groupSize] of [
      [today, 128],
      [old, -1],
      [gptqmodel, 32],
    ] as const) {
      expect(isAwqConfig(settings)).toBe(true);
      expect(parseAwqConfig(settings, 'config.json')).toEqual({ groupSize });
    }
    expect(isAwqConfig({ quant_method: 'gptq', w_bit: 4, q_group_size: 1 })).toBe(false);
    expect(isAwqConfig({ bits: 4, group_size: 128 })).toBe(false);
  });

  it('everything unreadable is listed', () => {
    const settings = { quant_method: 'awq', bits: 3, group_size: 0, version: 'gemv', pack_dtype: 'int64' };
    expect(() => parseAwqConfig(settings, 'config.json')).toThrow(
      /config\.json: AWQ settings.*\n.*bits: 4 expected.*\n.*version.*"gemv".*\n.*group_size.*\n.*pack_dtype/,
    );
  });
});
