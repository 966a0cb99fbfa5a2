import { describe, expect, it } from 'vitest';
import { Bug, DeviceError } from '../../src/core/errors.js';
import { createCpuEngine } from '../../src/cpu/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { CPU_CASES, slowLibrary } from './engines.js';
import { randomTable, readTable, stridedView } from './strided.js';

const ones = (count: number) => new Float32Array(count).fill(1);

describe('order and errors of the cpu engine', () => {
  // Plan: behind a product that takes its time, later operations, writes, reads and frees keep their order.
  it('runs everything in call order behind an asynchronous product', async () => {
    const engine = createCpuEngine({ precision: 'f32', matrixLibrary: slowLibrary() });
    const a = engine.upload(ones(4), [2, 2], 'f32', 'a');
    const c = engine.create([2, 2], 'f32', 'c');
    engine.gemm({ a: asMatrix(a), b: asMatrix(a), c: asMatrix(c) });
    const first = engine.read(c);
    engine.scale({ x: asMatrix(c), factor: 10 });
    const reused = Float32Array.of(5, 5, 5, 5);
    engine.write(a, reused);
    reused.fill(99);
    engine.gemm({ a: asMatrix(a), b: asMatrix(a), c: asMatrix(c), beta: 1 });
    engine.free(a);
    expect(await first).toEqual(Float32Array.of(2, 2, 2, 2));
    expect(await engine.read(c)).toEqual(Float32Array.of(70, 70, 70, 70));
    expect(await engine.read(c, 1, 2)).toEqual(Float32Array.of(70, 70));
    await engine.dispose();
  });

  it('rejects the next read and every later one after a failure, and still frees', async () => {
    const engine = createCpuEngine({ precision: 'f32', matrixLibrary: slowLibrary({ fail: true }) });
    const a = engine.upload(ones(4), [2, 2], 'f32', 'a');
    const c = engine.create([2, 2], 'f32', 'c');
    await engine.sync();
    engine.gemm({ a: asMatrix(a), b: asMatrix(a), c: asMatrix(c) });
    engine.addTo({ x: asMatrix(a), y: asMatrix(c) });
    await expect(engine.read(a)).rejects.toThrow('the library broke');
    await expect(engine.sync()).rejects.toThrow('the library broke');
    engine.free(a, c);
    expect(engine.memory()).toMatchObject({ tensors: 0, allocatedBytes: 0 });
    await expect(engine.dispose()).rejects.toThrow('the library broke');
  });

  it('throws at the call for freed and foreign tensors, wrong dtypes and views that leave their tensor', async () => {
    const engine = createCpuEngine({ precision: 'f64' });
    const other = createCpuEngine({ precision: 'f64' });
    const x = engine.upload(ones(6), [2, 3], 'f32', 'x');
    const bytes = engine.create([6], 'u8', 'codes');
    const foreign = other.upload(ones(6), [2, 3], 'f32', 'foreign');
    expect(() => engine.addTo({ x: asMatrix(x), y: asMatrix(foreign) })).toThrow(/foreign.* another engine/);
    expect(() => engine.scale({ x: { ...asMatrix(x), offset: 1 }, factor: 1 })).toThrow(
      'leaves its 6 elements',
    );
    expect(() => engine.scale({ x: asMatrix(bytes), factor: 1 })).toThrow('is u8, expected f32');
    expect(() => engine.write(bytes, ones(6))).toThrow(Bug);
    expect(() => engine.write(x, ones(6), 1)).toThrow(Bug);
    await expect(engine.read(x, 4, 3)).rejects.toThrow(Bug);
    engine.free(x);
    expect(() => engine.scale({ x: asMatrix(x), factor: 1 })).toThrow('was freed');
    expect(() => engine.free(x)).toThrow('was freed');
    await engine.dispose();
    expect(() => engine.create([1], 'f32', 'late')).toThrow('disposed');
  });
});

describe('data and memory of the cpu engine', () => {
  it('stores raw bytes, float32 and float64 of any alignment', async () => {
    const engine = createCpuEngine({ precision: 'f64' });
    const tensor = engine.create([3], 'f32', 'x');
    const host = Float32Array.of(0.1, -2, 3);
    const shifted = new Uint8Array(13);
    shifted.set(new Uint8Array(host.buffer), 1);
    engine.write(tensor, shifted.subarray(1));
    expect(await engine.read(tensor)).toEqual(Float64Array.from(host));
    engine.write(tensor, Float64Array.of(1 / 3), 2);
    expect((await engine.read(tensor))[2]).toBe(1 / 3);
    expect(() => engine.upload(new Uint8Array(5), [1], 'f32', 'odd')).toThrow(Bug);
    await engine.dispose();
  });

  it('counts bytes in call order, per precision, with peak and budget', async () => {
    for (const [precision, width] of [
      ['f32', 4],
      ['f64', 8],
    ] as const) {
      const engine = createCpuEngine({ precision, budgetBytes: 1000 });
      const a = engine.create([10, 10], 'f32', 'a');
      const b = engine.create([20], 'bf16', 'b');
      expect(engine.memory()).toEqual({
        allocatedBytes: 100 * width + 40,
        peakBytes: 100 * width + 40,
        tensors: 2,
        budgetBytes: 1000,
      });
      expect(() => engine.create([240], 'f32', 'big')).toThrow(DeviceError);
      engine.free(a);
      expect(engine.memory()).toMatchObject({ allocatedBytes: 40, peakBytes: 100 * width + 40, tensors: 1 });
      engine.resetPeak();
      expect(engine.memory().peakBytes).toBe(40);
      engine.free(b, engine.create([960 / width], 'f32', 'fits again'));
      expect(engine.memory()).toMatchObject({ allocatedBytes: 0, tensors: 0, peakBytes: 1000 });
      await engine.dispose();
    }
  });

  it('says what it is', () => {
    const info = createCpuEngine({
      precision: 'f64',
      adapterName: 'abacus',
      matrixLibrary: slowLibrary(),
    }).info;
    expect(info).toMatchObject({
      engine: 'cpu',
      adapter: 'abacus',
      precision: 'f64',
      matrixLibrary: 'plain loops',
    });
  });

  it('zeroes when asked', async () => {
    const engine = createCpuEngine({ precision: 'f32' });
    expect(await engine.read(engine.create([3], 'u32', 'z', { zero: true }))).toEqual(new Uint32Array(3));
  });
});

// Plan: the same calls give the same bits, run for run.
describe.each(CPU_CASES)('determinism · $name', ({ make }) => {
  it('repeats its bits', async () => {
    const results = [];
    for (let run = 0; run < 2; run++) {
      const engine = await make();
      const c = stridedView(engine, randomTable(70, 90, 3));
      engine.gemm({
        a: stridedView(engine, randomTable(70, 140, 1)),
        b: stridedView(engine, randomTable(140, 90, 2)),
        c,
        beta: 1,
      });
      results.push(await readTable(engine, c));
      await engine.dispose();
    }
    expect(results[1]).toEqual(results[0]);
  });
});
