/**
 * The whole job on a memory model: nothing leaks on the engine, failures leave nothing behind, and what is written reads
 * back as the model that was evaluated while it was made.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/cpu/engine.js';
import { AbortError, DeviceError, NumericError, UserError } from '../../src/core/errors.js';
import type { Engine } from '../../src/engine/engine.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import type { MemoryFolder } from '../../src/io/memory-folder.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { evaluateModel } from '../../src/pipeline/evaluate-model.js';
import { inspectModel } from '../../src/pipeline/inspect-model.js';
import type { QuantizeModelOptions } from '../../src/pipeline/quantize-model.js';
import { quantizeModel } from '../../src/pipeline/quantize-model.js';
import type { QuantizeSettings } from '../../src/pipeline/quantize-settings.js';
import { DEFAULT_SETTINGS } from '../../src/pipeline/quantize-settings.js';
import type { ResolvedModel } from '../../src/hub/index.js';
import { memoryModel, randomTensor, SHAPES, textSource } from './memory-model.js';

let engine: Engine;
let folder: MemoryFolder;
beforeEach(() => {
  engine = createCpuEngine({ precision: 'f32' });
  folder = createMemoryFolder('result');
});
afterEach(async () => {
  // Whatever a test did, a run frees every tensor it made.
  expect(engine.memory().tensors).toBe(0);
  await engine.dispose();
});

const settings = (some: Partial<QuantizeSettings> = {}): QuantizeSettings => ({
  ...DEFAULT_SETTINGS,
  samples: 4,
  groupSize: 32,
  ...some,
});

async function run(model: ResolvedModel, options: Partial<QuantizeModelOptions> = {}) {
  return quantizeModel({
    model,
    engine,
    settings: settings(),
    calibration: { source: textSource(40), label: 'text.txt' },
    openOutput: () => Promise.resolve(folder),
    host: { version: '0.0.0' },
    ...options,
  });
}

const asModel = (files: MemoryFolder): ResolvedModel => ({
  name: 'result',
  source: 'local',
  files: files.files,
});

describe('quantizeModel', () => {
  it('writes a folder that evaluates like the original and inspects as what was asked for', async () => {
    const model = await memoryModel();
    let mostTensors = 0;
    const report = await run(model, {
      settings: settings({ bits: 8 }),
      onProgress: () => (mostTensors = Math.max(mostTensors, engine.memory().tensors)),
    });
    // Control for the leak check in afterEach: the engine does count.
    expect(mostTensors).toBeGreaterThan(10);
    expect(report.layers).toHaveLength(14);
    expect(Object.keys(report.stages)).toEqual(['plan', 'hash', 'quantize', 'finish']);
    const evaluation = await evaluateModel({
      model: asModel(folder),
      reference: model,
      engine,
      text: textSource(12),
    });
    expect(evaluation.reference?.kld.mean).toBeGreaterThan(0);
    expect(evaluation.reference?.kld.mean).toBeLessThan(1e-4);
    expect(evaluation.reference?.sameTop).toBeGreaterThan(0.95);
    expect(await inspectModel(asModel(folder))).toMatchObject({
      quantization: {
        bits: 8,
        groupSize: 32,
        symmetric: true,
        linears: 14,
        bitsPerWeight: report.bitsPerWeight,
      },
    });
  });

  for (const spec of [
    { bits: 2, symmetric: false },
    { bits: 3, order: 'act' },
    { bits: 4, order: 'group-aware', refine: 1 },
    { bits: 4, groupSize: -1, range: 'mse' },
    { bits: 3, symmetric: false, order: 'act', staticGroups: true },
  ] as const)
    it(`reads back what it wrote: ${JSON.stringify(spec)}`, async () => {
      const model = await memoryModel();
      await run(model, { settings: settings(spec) });
      const evaluation = await evaluateModel({
        model: asModel(folder),
        reference: model,
        engine,
        text: textSource(12),
      });
      // A packing mistake gives divergences near ln V = 5; honest rounding to 2 bits stays far below.
      expect(evaluation.reference?.kld.mean).toBeLessThan(spec.bits === 2 ? 1 : 0.2);
    });

  it('copies everything that is not quantized bit by bit', async () => {
    const model = await memoryModel();
    await run(model);
    const written = await inspectModel(asModel(folder));
    const kept = written.tensors.filter(({ dtype }) => dtype === 'BF16').map(({ name }) => name);
    expect(new Set(kept)).toEqual(new Set(Object.keys(SHAPES).filter((name) => !name.includes('proj'))));
    const checkpoint = await openCheckpoint(folder.files);
    for (const name of kept)
      expect(await checkpoint.read(name)).toEqual(randomTensor(name, SHAPES[name]).bytes);
  });

  it('quantizes a separate head when asked, with and without calibration', async () => {
    for (const method of ['gptq', 'rtn'] as const) {
      folder = createMemoryFolder(method);
      const report = await run(await memoryModel(), { settings: settings({ method, lmHead: true }) });
      expect(report.layers.at(-1)).toMatchObject({ name: 'lm_head', groups: 2 });
      const evaluation = await evaluateModel({
        model: asModel(folder),
        reference: await memoryModel(),
        engine,
        text: textSource(12),
      });
      expect(evaluation.reference?.kld.mean).toBeLessThan(0.2);
    }
  });

  it('refuses a tied head with the reason', async () => {
    const model = await memoryModel({ config: { tie_word_embeddings: true } });
    await expect(run(model, { settings: settings({ lmHead: true }) })).rejects.toThrow(
      /tied to the embeddings/,
    );
  });

  it('stops when asked to, wherever it is, and leaves nothing', async () => {
    for (const item of ['embed', 'calibrate', 'forward']) {
      const controller = new AbortController();
      folder = createMemoryFolder('aborted');
      const promise = run(await memoryModel(), {
        signal: controller.signal,
        onProgress: (event) => {
          if (event.item?.startsWith(item) === true) controller.abort();
        },
      });
      await expect(promise).rejects.toBeInstanceOf(AbortError);
      expect(folder.files.size).toBe(0);
      await expect(folder.commit()).resolves.toBe('aborted');
      expect(folder.files.size).toBe(0);
    }
  });

  it('passes a lost device on and leaves nothing', async () => {
    let reads = 0;
    const read: Engine['read'] = (...args) =>
      ++reads > 20 ? Promise.reject(new DeviceError('the device was lost')) : engine.read(...args);
    const fragile = new Proxy(engine, {
      get: (target, key) => {
        const value: unknown = key === 'read' ? read : Reflect.get(target, key);
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
    await expect(run(await memoryModel(), { engine: fragile })).rejects.toBeInstanceOf(DeviceError);
    expect(folder.files.size).toBe(0);
  });

  it('names the tensor and element of a NaN', async () => {
    const name = 'model.layers.1.self_attn.o_proj.weight';
    const broken = randomTensor(name, SHAPES[name]);
    new DataView(broken.bytes.buffer).setUint16(2 * 1234, 0x7fc1, true);
    const error = await run(await memoryModel({ tensors: { [name]: broken } })).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(NumericError);
    expect(error).toMatchObject({ layer: name, index: 1234 });
    expect(folder.files.size).toBe(0);
  });

  it('needs a text for gptq', async () => {
    const promise = quantizeModel({
      model: await memoryModel(),
      engine,
      settings: settings(),
      openOutput: () => Promise.resolve(folder),
      host: { version: '0.0.0' },
    });
    await expect(promise).rejects.toBeInstanceOf(UserError);
  });
});
