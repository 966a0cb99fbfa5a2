import { describe, expect, it } from 'vitest';
import { codebookQuantize } from '../../src/cpu/quant/codebook-quantize.js';
import { CODEBOOKS } from '../../src/core/codebooks.js';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { DYNAMIC_MAP } from '../../src/core/dynamic-map.js';
import { FormatError } from '../../src/core/errors.js';
import type { CodebookLinear, CodebookName } from '../../src/core/quantized-linear.js';
import {
  bitsandbytesConfig,
  parseBitsandbytesConfig,
  withFloatThreshold,
} from '../../src/formats/bitsandbytes/bitsandbytes-config.js';
import {
  decodeLayer,
  encodeLayer,
  encodeState,
  layerProblems,
  layerTensors,
  stateName,
} from '../../src/formats/bitsandbytes/bitsandbytes-layer.js';
import type { LayerTensors } from '../../src/formats/bitsandbytes/bitsandbytes-layer.js';
import { pythonFloatText } from '../../src/formats/bitsandbytes/python-number.js';
import type { StoredTensor } from '../../src/formats/stored-tensor.js';
import { doubleQuantize, restoreAbsmax } from '../../src/quant/double-quantize.js';

// Plan: bytes recorded from bitsandbytes 0.50.2 for a small matrix; texts as Python prints them; every lie a tensor can
// tell is a FormatError that names it.

/** x_i = ((37·i mod 101) − 50)/32. */
function exampleRecord(codebook: CodebookName, outFeatures = 8, inFeatures = 8): CodebookLinear {
  const count = outFeatures * inFeatures;
  const w = Float32Array.from({ length: count }, (_, i) => (((37 * i) % 101) - 50) / 32);
  const codes = new Uint8Array(Math.ceil(count / 2));
  const absmax = new Float32Array(Math.ceil(count / 64));
  codebookQuantize({ w, dtype: 'f32', codebook, blockSize: 64, codes, absmax });
  return { kind: 'codebook', codebook, outFeatures, inFeatures, blockSize: 64, codes, absmax };
}

function nestedRecord(): CodebookLinear {
  const record = exampleRecord('nf4', 20, 33);
  const nested = doubleQuantize(record.absmax);
  return { ...record, nested, absmax: restoreAbsmax(nested) };
}

/** A record as a file's tensors. */
function stored(record: CodebookLinear): LayerTensors {
  const { codebook, nested } = record;
  const planned = layerTensors('m', { ...record, nested: nested !== undefined });
  const bytes = encodeLayer('m', record);
  const tensor = (part: string): StoredTensor => {
    const plan = planned.find(({ name }) => name === `m.${part}`);
    const data = bytes.get(`m.${part}`) ?? new Uint8Array(0);
    return storedTensor(`m.${part}`, plan?.dtype ?? 'U8', plan?.shape ?? [data.length], data);
  };
  const state = encodeState(record, 'float32', nested?.offset);
  return {
    weight: tensor('weight'),
    absmax: tensor('weight.absmax'),
    quantMap: tensor('weight.quant_map'),
    state: storedTensor(`m.${stateName(codebook)}`, 'U8', [state.length], state),
    ...(nested === undefined
      ? {}
      : {
          nestedAbsmax: tensor('weight.nested_absmax'),
          nestedQuantMap: tensor('weight.nested_quant_map'),
        }),
  };
}

function storedTensor(
  name: string,
  dtype: StoredTensor['info']['dtype'],
  shape: readonly number[],
  bytes: Uint8Array,
): StoredTensor {
  return {
    info: { name, dtype, shape, file: 'model.safetensors', begin: 100, end: 100 + bytes.length },
    bytes,
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe('bitsandbytes bytes', () => {
  it.each([
    ['nf4', '04c16e29f3b05d17e29f3c05d18e2af4c16e18e3b05d17e29f3b05d18e2af4c1', -0.44443965],
    ['fp4', 'bf5a92a63c4be5a02d63c4be2a12d73f5a92a63d4bf5a92d63c4be5a12d73c5b', -0.390625],
  ] as const)('%s of the worked example', (codebook, bytes, second) => {
    const record = exampleRecord(codebook);
    expect(hex(encodeLayer('m', record).get('m.weight') ?? new Uint8Array(0))).toBe(bytes);
    const values = dequantizeLinear(record);
    expect(values[0]).toBe(-1.5625);
    expect(values[1]).toBeCloseTo(second, 7);
  });

  it('double quantization of the worked example', () => {
    const { codes, absmax, offset } = doubleQuantize(Float32Array.of(1.5625, 3.125, 4.6875, 6.25));
    expect(offset).toBe(3.90625);
    expect([...absmax]).toEqual([2.34375]);
    expect([...codes]).toEqual([0, 47, 207, 255]);
  });

  it('states are the text of json.dumps', () => {
    const record = exampleRecord('nf4');
    expect(text(encodeState(record, 'float32'))).toBe(
      '{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [8, 8]}',
    );
    expect(
      text(encodeState({ ...record, outFeatures: 128, inFeatures: 256 }, 'bfloat16', 2.5944366455078125)),
    ).toBe(
      '{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [128, 256], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 2.5944366455078125}',
    );
  });

  it.each([
    [5, '5.0'],
    [-0.5, '-0.5'],
    [0, '0.0'],
    [-0, '-0.0'],
    [1e-7, '1e-07'],
    [0.0001, '0.0001'],
    [0.00001234, '1.234e-05'],
    [1e15, '1000000000000000.0'],
    [1e16, '1e+16'],
    [1.5e300, '1.5e+300'],
    [123456.75, '123456.75'],
    [Math.fround(0.1), '0.10000000149011612'],
  ])('%f is written %s', (value, expected) => {
    expect(pythonFloatText(value)).toBe(expected);
  });

  it('tensors have the names, dtypes and shapes of the state dict', () => {
    const facts = { outFeatures: 3, inFeatures: 33, codebook: 'fp4', blockSize: 32, nested: true } as const;
    expect(layerTensors('m', facts)).toEqual([
      { name: 'm.weight', dtype: 'U8', shape: [50, 1] },
      { name: 'm.weight.absmax', dtype: 'U8', shape: [4] },
      { name: 'm.weight.nested_absmax', dtype: 'F32', shape: [1] },
      { name: 'm.weight.nested_quant_map', dtype: 'F32', shape: [256] },
      { name: 'm.weight.quant_map', dtype: 'F32', shape: [16] },
    ]);
    expect(layerTensors('m', { ...facts, nested: false })[1]).toEqual({
      name: 'm.weight.absmax',
      dtype: 'F32',
      shape: [4],
    });
    expect(layerProblems({ blockSize: 64 })).toEqual([]);
    expect(layerProblems({ blockSize: 48 })).toHaveLength(1);
  });

  it('records come back as they were', () => {
    for (const record of [exampleRecord('nf4', 5, 13), exampleRecord('fp4'), nestedRecord()])
      expect(decodeLayer(stored(record), record.codebook)).toEqual(record);
  });

  it('a foreign nested map gives plain absmax, and other storage dtypes the same codes', () => {
    const record = nestedRecord();
    const tensors = stored(record);
    const map = DYNAMIC_MAP.slice();
    map[3] = -0.95;
    const bytes = new Uint8Array(map.buffer);
    const foreign = { ...tensors, nestedQuantMap: storedTensor('map', 'F32', [256], bytes) };
    const { nested, absmax } = decodeLayer(foreign, 'nf4');
    expect(nested).toBeUndefined();
    expect(absmax).toHaveLength(record.absmax.length);
    const relabelled = storedTensor('m.weight', 'BF16', [165, 1], tensors.weight.bytes);
    expect(decodeLayer({ ...tensors, weight: relabelled }, 'nf4')).toEqual(record);
  });
});

describe('bitsandbytes files that lie', () => {
  const tensors = stored(nestedRecord());
  const withState = (change: (state: string) => string): LayerTensors => {
    const bytes = new TextEncoder().encode(change(text(tensors.state.bytes)));
    return { ...tensors, state: storedTensor(tensors.state.info.name, 'U8', [bytes.length], bytes) };
  };
  const table = new Uint8Array(CODEBOOKS.fp4.slice().buffer);
  const nan = new Uint8Array(Float32Array.of(NaN).buffer);
  const cut = ({ info, bytes }: StoredTensor): StoredTensor =>
    storedTensor(info.name, info.dtype, [bytes.length - 1], bytes.subarray(0, -1));

  it.each<[string, LayerTensors, RegExp]>([
    ['another codebook in the state', withState((s) => s.replace('nf4', 'fp4')), /quant_type/],
    ['a block size nobody knows', withState((s) => s.replace('64', '63')), /blocksize/],
    ['an unknown dtype', withState((s) => s.replace('float32', 'float64')), /dtype/],
    ['a shape too large', withState((s) => s.replace('[20, 33]', '[20, 34]')), /does not fit/],
    [
      'a shape that overflows',
      withState((s) => s.replace('[20, 33]', '[9007199254740991, 9007199254740991]')),
      /shape/,
    ],
    ['a shape of three', withState((s) => s.replace('[20, 33]', '[20, 33, 1]')), /shape/],
    ['no JSON', withState((s) => s.slice(0, -1)), /JSON|line/],
    [
      'an offset that is no number',
      withState((s) => s.replace(/"nested_offset": .*}/, '"nested_offset": "1"}')),
      /nested_offset/,
    ],
    ['no offset', withState((s) => s.replace(/, "nested_blocksize.*}/, '}')), /nested_offset|dtype/],
    [
      'an offset beyond float32',
      withState((s) => s.replace(/"nested_offset": .*}/, '"nested_offset": 1e300}')),
      /absmax of Infinity/,
    ],
    ['codes cut', { ...tensors, weight: cut(tensors.weight) }, /330 bytes expected, 329 found/],
    ['absmax cut', { ...tensors, absmax: cut(tensors.absmax) }, /11 elements expected, 10 found/],
    [
      'the other table',
      { ...tensors, quantMap: storedTensor('m.weight.quant_map', 'F32', [16], table) },
      /table of nf4/,
    ],
    ['nested absmax missing', { ...tensors, nestedAbsmax: undefined }, /nested_absmax/],
    [
      'nested absmax not finite',
      { ...tensors, nestedAbsmax: storedTensor('m.weight.nested_absmax', 'F32', [1], nan) },
      /finite/,
    ],
    [
      'a wrong dtype',
      { ...tensors, quantMap: storedTensor('m.weight.quant_map', 'F16', [32], table) },
      /F16 found/,
    ],
  ])('%s', (_, lying, message) => {
    expect(() => decodeLayer(lying, 'nf4')).toThrow(FormatError);
    expect(() => decodeLayer(lying, 'nf4')).toThrow(message);
    expect(() => decodeLayer(lying, 'nf4')).toThrow(/model\.safetensors/);
  });
});

describe('bitsandbytes settings', () => {
  const settings = {
    codebook: 'nf4',
    doubleQuant: true,
    computeDType: 'bfloat16',
    skippedModules: ['lm_head'],
  } as const;

  it('have a threshold that Python reads as a float', () => {
    const json = withFloatThreshold(JSON.stringify(bitsandbytesConfig(settings), null, 2));
    expect(json).toContain('"llm_int8_threshold": 6.0,');
    expect(JSON.parse(json)).toEqual(bitsandbytesConfig(settings));
  });

  it('are read, and 8-bit models refused', () => {
    expect(() => parseBitsandbytesConfig(bitsandbytesConfig(settings), 'config.json')).not.toThrow();
    expect(() => parseBitsandbytesConfig({ load_in_8bit: true }, 'config.json')).toThrow(/LLM\.int8/);
    expect(() =>
      parseBitsandbytesConfig({ load_in_4bit: true, bnb_4bit_quant_type: 'af4' }, 'config.json'),
    ).toThrow(/"af4"/);
    expect(() => parseBitsandbytesConfig({}, 'config.json')).toThrow(FormatError);
  });
});
