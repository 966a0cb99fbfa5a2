import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Engine, HostArray } from '../../src/engine/engine.js';
import type { TensorDType } from '../../src/engine/tensor.js';
import { describeEngines, describeGpu, openTestGpu } from '../helpers/engines.js';

const ARRAYS = {
  f32: Float32Array,
  u32: Uint32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  u8: Uint8Array,
} as const;
const DTYPES: readonly TensorDType[] = ['f32', 'u32', 'f16', 'bf16', 'u8'];

function counting(dtype: TensorDType, length: number, from: number): HostArray {
  return new ARRAYS[dtype](length).map((_: number, i: number) => from + i);
}

describeEngines('write and read', (make) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await make();
  });
  afterAll(() => engine.dispose());

  it.each(DTYPES)('%s at every offset and length', async (dtype) => {
    for (const [offset, length] of [
      [0, 23],
      [1, 1],
      [3, 5],
      [2, 8],
      [5, 18],
      [20, 3],
      [23, 0],
    ]) {
      const tensor = engine.upload(counting(dtype, 23, 100), [23], dtype, 'x');
      engine.write(tensor, counting(dtype, length, 7), offset);
      const expected = [...counting(dtype, 23, 100)];
      for (let i = 0; i < length; i++) expected[offset + i] = 7 + i;
      expect([...(await engine.read(tensor))]).toEqual(expected);
      expect([...(await engine.read(tensor, offset, length))]).toEqual(
        expected.slice(offset, offset + length),
      );
      engine.free(tensor);
    }
  });

  it('takes raw bytes for every dtype and float64 for f32', async () => {
    for (const dtype of DTYPES) {
      const data = counting(dtype, 9, 1);
      const tensor = engine.upload(new Uint8Array(data.buffer), [9], dtype, 'raw');
      expect([...(await engine.read(tensor))]).toEqual([...data]);
      engine.free(tensor);
    }
    const tensor = engine.upload(Float64Array.of(1.5, -2.25), [2], 'f32', 'doubles');
    expect([...(await engine.read(tensor))]).toEqual([1.5, -2.25]);
    engine.free(tensor);
  });

  it('reads what was recorded before, not after', async () => {
    const tensor = engine.upload(Float32Array.of(1, 2), [1, 2], 'f32', 'x');
    const early = engine.read(tensor);
    engine.write(tensor, Float32Array.of(3, 4));
    const late = engine.read(tensor);
    expect([...(await early)]).toEqual([1, 2]);
    expect([...(await late)]).toEqual([3, 4]);
    engine.free(tensor);
  });

  it('refuses what leaves the tensor or has another type', () => {
    const tensor = engine.create([4], 'f32', 'x');
    expect(() => engine.write(tensor, new Float32Array(3), 2)).toThrow();
    expect(() => engine.write(tensor, new Uint32Array(2))).toThrow();
    expect(() => engine.upload(new Float32Array(3), [4], 'f32', 'y')).toThrow();
    engine.free(tensor);
  });
});

describeGpu('large transfers', () => {
  it('go in pieces', async () => {
    const engine = await openTestGpu({ poison: false });
    const data = Uint32Array.from({ length: (40 << 20) / 4 + 3 }, (_, i) => i);
    const tensor = engine.upload(data, [data.length], 'u32', 'large');
    const back = (await engine.read(tensor)) as Uint32Array;
    expect(back.findIndex((value, i) => value !== i)).toBe(-1);
    await engine.dispose();
  });
});
