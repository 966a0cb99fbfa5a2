import { afterEach, describe, expect, it } from 'vitest';
import { DeviceError } from '../../src/core/errors.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { openWebGpu, type OpenWebGpuOptions } from '../../src/platform/node/gpu/index.js';
import { foldWorkgroups } from '../../src/webgpu/gpu-context.js';
import { shaderRecord } from '../../src/webgpu/shader-types.js';
import { resolveFlags } from '../../src/webgpu/shader-text.js';
import { selfCheck } from '../../src/webgpu/self-check.js';
import type { WebGpuEngine } from '../../src/webgpu/webgpu-engine.js';
import { describeGpu, openTestGpu } from '../helpers/engines.js';

describe('foldWorkgroups', () => {
  it.each([
    [1, [1, 1, 1]],
    [65535, [65535, 1, 1]],
    [65536, [32768, 2, 1]],
    [200001, [50001, 4, 1]],
  ])('%i', (count, grid) => {
    expect(foldWorkgroups(count, 65535)).toEqual(grid);
  });
});

describe('choosing an adapter', () => {
  it('names what there is when nothing fits', async () => {
    const failure = await openWebGpu({ name: 'no such adapter' }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(DeviceError);
    expect((failure as DeviceError).message).toContain('no WebGPU adapter named "no such adapter"; found');
    expect((failure as DeviceError).advice).toContain('--device cpu');
  });
});

describeGpu('the device', () => {
  let engine: WebGpuEngine | undefined;
  const open = async (options: OpenWebGpuOptions = {}): Promise<WebGpuEngine> => {
    engine = await openTestGpu(options);
    return engine;
  };
  afterEach(async () => {
    await engine?.dispose();
    engine = undefined;
  });

  it('works with default limits and no optional feature', async () => {
    const plain = await open({ limits: 'default' });
    expect(plain.info.features).toEqual([]);
    expect(plain.maxTensorBytes).toBe(128 << 20);
    expect(plain.context.facts.subgroups).toBe(false);
    expect((await selfCheck(plain)).filter((check) => !check.ok)).toEqual([]);
  });

  it('says what a lost device means, on this read and every later one', async () => {
    const lost = await open();
    const tensor = lost.create([8], 'f32', 'x');
    await lost.sync();
    lost.context.device.destroy();
    for (const attempt of [() => lost.read(tensor), () => lost.sync(), () => lost.read(tensor)]) {
      const failure = await attempt().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(DeviceError);
      expect((failure as DeviceError).message).toContain('was lost');
      expect((failure as DeviceError).advice).toContain('--device cpu');
    }
  });

  it('names kernel, file, line and source of a text that does not compile', async () => {
    const broken = await open();
    const { source, flags } = shaderRecord('tensor/fill');
    const text = resolveFlags('tensor/fill', source, flags, []).replace('params.bits', 'params.bytes');
    broken.context.pipelines.compile('tensor/fill', text, {}, 12);
    const failure = await broken.sync().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(DeviceError);
    const { message } = failure as DeviceError;
    expect(message).toMatch(
      /shader tensor\/fill does not compile:\n {2}shaders\/tensor\/fill\.wgsl:\d+:\d+: .*bytes/,
    );
    expect(message).toContain('words[params.first + index] = params.bytes;');
  });

  it('turns an uncaptured validation error into a rejection', async () => {
    const careless = await open();
    careless.context.device.createBuffer({ size: 16, usage: 0x1 | 0x80 });
    await expect(careless.sync()).rejects.toThrow(DeviceError);
  });

  it('keeps to its budget and tells what was asked and what is free', async () => {
    const small = await open({ budgetBytes: 4096 });
    const kept = small.create([512], 'f32', 'kept');
    expect(() => small.create([1024], 'f32', 'too much')).toThrow(
      /too much \[1024\] f32 asks for 4096 bytes of GPU memory; 2048 of the budget of 4096 are free/,
    );
    small.free(kept);
    small.free(small.create([1024], 'f32', 'fits now'));
    expect(small.memory()).toMatchObject({
      allocatedBytes: 4096,
      peakBytes: 4096,
      tensors: 0,
      budgetBytes: 4096,
    });
  });

  it('refuses a tensor beyond the binding limit', async () => {
    const plain = await open({ limits: 'default' });
    expect(() => plain.create([(128 << 20) / 4 + 1], 'f32', 'huge')).toThrow(
      /huge .* is 134217732 bytes; .* allows 134217728/,
    );
  });

  it('folds more than 65,535 workgroups', async () => {
    const many = await open();
    const count = 65535 + 66;
    const x = many.upload(new Float32Array(count).fill(3), [count, 1], 'f32', 'x');
    const to = many.create([count], 'f32', 'to', { zero: true });
    many.addRowDots({ x: asMatrix(x), y: asMatrix(x), to });
    const sums = (await many.read(to)) as Float32Array;
    expect(sums.findIndex((sum) => sum !== 9)).toBe(-1);
  });

  it('reuses freed memory in order and counts live tensors', async () => {
    const busy = await open();
    for (let round = 0; round < 200; round++) {
      const x = busy.upload(Float32Array.of(round, 1), [1, 2], 'f32', 'x');
      busy.scale({ x: asMatrix(x), factor: 2 });
      if (round % 50 === 49) expect(await busy.read(x)).toEqual(Float32Array.of(2 * round, 2));
      busy.free(x);
    }
    expect(busy.memory().tensors).toBe(0);
    expect(busy.memory().peakBytes).toBeLessThan(64 * 256);
  });

  it('refuses a freed tensor and one of another engine', async () => {
    const strict = await open();
    const x = strict.create([4], 'f32', 'gone');
    strict.free(x);
    expect(() => strict.scale({ x: asMatrix(x), factor: 2 })).toThrow('gone is used after it was freed');
    expect(() => strict.free({ shape: [1], dtype: 'f32', label: 'foreign' })).toThrow(
      'belongs to another engine',
    );
  });

  it('refuses to write a tensor that it also reads', async () => {
    const strict = await open();
    const x = strict.create([4], 'f32', 'x');
    expect(() =>
      strict.context.dispatch({
        shader: 'tensor/merge-bytes',
        params: { first: 0, count: 1, words: 1 },
        tensors: [x, x],
        workgroups: 1,
      }),
    ).toThrow('binds it a second time');
  });
});
