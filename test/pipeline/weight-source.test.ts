import { afterAll, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/cpu/engine.js';
import { f16ToF32, f8e4m3ToF32, f8e5m2ToF32, bf16ToF32 } from '../../src/core/dtype.js';
import { createRng } from '../../src/core/rng.js';
import { readReals } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { bytesOf } from '../../src/io/byte-views.js';
import { firstNonFinite } from '../../src/pipeline/check-finite.js';
import { openModel } from '../../src/pipeline/open-model.js';
import { createWeightSource } from '../../src/pipeline/weight-source.js';
import { memoryModel, SHAPES } from './memory-model.js';
import type { TensorData } from './memory-model.js';

const engine = createCpuEngine({ precision: 'f32' });
afterAll(() => engine.dispose());

const NAME = 'model.layers.0.mlp.up_proj.weight';
const SHAPE = [96, 64];
const COUNT = 96 * 64;

async function readAs(data: TensorData): Promise<{ dtype: string; values: number[] }> {
  const { files } = await memoryModel({ tensors: { [NAME]: data } });
  const source = createWeightSource({ checkpoint: await openCheckpoint(files), engine });
  const tensor = await source.dense(NAME, SHAPE);
  const wide = engine.create(SHAPE, 'f32', 'wide');
  engine.copy({ from: asMatrix(tensor), to: asMatrix(wide) });
  const values = Array.from(await readReals(engine, wide));
  engine.free(tensor, wide);
  return { dtype: tensor.dtype, values };
}

/** Seeded bytes with no NaN or infinity in `dtype`. */
function finiteBytes(dtype: TensorData['dtype'], width: number): Uint8Array {
  const rng = createRng(width);
  const bytes = Uint8Array.from({ length: COUNT * width }, () => rng.int(256));
  for (let at = firstNonFinite(bytes, dtype); at >= 0; at = firstNonFinite(bytes, dtype))
    bytes.fill(1, at * width, (at + 1) * width);
  return bytes;
}

describe('createWeightSource', () => {
  const sixteen = (bytes: Uint8Array, convert: (bits: number) => number): number[] =>
    Array.from(new Uint16Array(bytes.buffer), convert);

  it('keeps F16 and BF16 as they are and converts them exactly', async () => {
    const f16 = finiteBytes('F16', 2);
    expect(await readAs({ dtype: 'F16', bytes: f16 })).toEqual({
      dtype: 'f16',
      values: sixteen(f16, f16ToF32),
    });
    const bf16 = finiteBytes('BF16', 2);
    expect(await readAs({ dtype: 'BF16', bytes: bf16 })).toEqual({
      dtype: 'bf16',
      values: sixteen(bf16, bf16ToF32),
    });
  });

  it('rounds F64 to the working precision', async () => {
    const values = Float64Array.from({ length: COUNT }, (_, i) => Math.PI * (i - 3000) * 1e-3);
    const expected = Array.from(Float32Array.from(values));
    expect(await readAs({ dtype: 'F64', bytes: bytesOf(values) })).toEqual({
      dtype: 'f32',
      values: expected,
    });
  });

  it('widens both 8-bit floats to bfloat16 without loss', async () => {
    const e4m3 = finiteBytes('F8_E4M3', 1);
    expect(await readAs({ dtype: 'F8_E4M3', bytes: e4m3 })).toEqual({
      dtype: 'bf16',
      values: Array.from(e4m3, f8e4m3ToF32),
    });
    const e5m2 = finiteBytes('F8_E5M2', 1);
    expect(await readAs({ dtype: 'F8_E5M2', bytes: e5m2 })).toEqual({
      dtype: 'bf16',
      values: Array.from(e5m2, f8e5m2ToF32),
    });
  });

  it('cuts a big table into panels that fit, rows in order', async () => {
    const { files } = await memoryModel();
    const checkpoint = await openCheckpoint(files);
    const name = 'model.embed_tokens.weight';
    const whole = await checkpoint.read(name);
    // 50 rows of 64 bf16 fit, made even: 160 rows become 50 + 50 + 50 + 10.
    const small = new Proxy(engine, {
      get: (target, key) => (key === 'maxTensorBytes' ? 50 * 128 + 7 : (Reflect.get(target, key) as unknown)),
    });
    const panels = await createWeightSource({ checkpoint, engine: small }).densePanels(name, [160, 64]);
    expect(panels.map((panel) => panel.shape[0])).toEqual([50, 50, 50, 10]);
    const read = await Promise.all(
      panels.map(async (panel) => bytesOf((await engine.read(panel)) as Uint16Array)),
    );
    expect(Buffer.concat(read)).toEqual(Buffer.from(whole));
    engine.free(...panels);
  });

  it('refuses another shape than the model needs', async () => {
    const { files } = await memoryModel();
    const source = createWeightSource({ checkpoint: await openCheckpoint(files), engine });
    await expect(source.dense(NAME, [64, 96])).rejects.toThrow(/shape \[64, 96\] expected, \[96, 64\] found/);
    await expect(source.dense('model.nothing.weight', [1])).rejects.toThrow(/missing/);
  });
});

describe('firstNonFinite', () => {
  const cases = [
    ['F64', Float64Array.of(1, -0, 5e-324, -Infinity), 3],
    ['F64', Float64Array.of(1, NaN), 1],
    ['F32', Float32Array.of(3.4e38, 1e-45, NaN), 2],
    ['F32', Float32Array.of(1, 2, 3), -1],
    ['F16', Uint16Array.of(0x7bff, 0xfbff, 0x7c00), 2],
    ['BF16', Uint16Array.of(0x7f7f, 0xff80), 1],
    ['F8_E4M3', Uint8Array.of(0x7e, 0xfe, 0xff), 2],
    ['F8_E5M2', Uint8Array.of(0x7b, 0x7c), 1],
    ['I32', Uint32Array.of(0xffffffff), -1],
  ] as const;
  for (const [dtype, values, index] of cases)
    it(`${dtype} ${Array.from(values).join(' ')} → ${index}`, () => {
      expect(firstNonFinite(bytesOf(values), dtype)).toBe(index);
    });
});

describe('openModel', () => {
  it('lists every tensor that is missing or has another shape', async () => {
    const model = await memoryModel({ config: { intermediate_size: 128, attention_bias: true } });
    const error = await openModel(model).catch((reason: unknown) => reason);
    const { message } = error as Error;
    for (const name of Object.keys(SHAPES).filter((key) => /mlp/.test(key))) expect(message).toContain(name);
    expect(message).toMatch(/"model\.layers\.1\.self_attn\.o_proj\.bias" \[64\]: missing/);
    expect(message).not.toContain('embed_tokens');
  });
});
