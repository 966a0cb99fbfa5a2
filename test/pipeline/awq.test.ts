import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/cpu/engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import type { ResolvedModel } from '../../src/hub/index.js';
import type { MemoryFolder } from '../../src/io/memory-folder.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { evaluateModel } from '../../src/pipeline/evaluate-model.js';
import { quantizeModel } from '../../src/pipeline/quantize-model.js';
import type { QuantizeSettings } from '../../src/pipeline/quantize-settings.js';
import { DEFAULT_SETTINGS } from '../../src/pipeline/quantize-settings.js';
import { openLocalModel } from '../../src/platform/node/files/local-model.js';
import { textSource } from './memory-model.js';

let engine: Engine;
beforeEach(() => {
  engine = createCpuEngine({ precision: 'f32' });
});
afterEach(async () => {
  expect(engine.memory().tensors).toBe(0);
  await engine.dispose();
});

async function tinyModel(name: string): Promise<ResolvedModel> {
  const path = fileURLToPath(new URL(`../fixtures/tiny/${name}`, import.meta.url));
  return { name, source: 'local', files: (await openLocalModel(path)) ?? new Map() };
}

async function quantize(model: ResolvedModel, some: Partial<QuantizeSettings>) {
  const folder = createMemoryFolder('awq');
  const report = await quantizeModel({
    model,
    engine,
    settings: {
      ...DEFAULT_SETTINGS,
      method: 'awq',
      formats: ['hf'],
      symmetric: false,
      groupSize: 32,
      samples: 4,
      seqLen: 32,
      ...some,
    },
    calibration: { source: textSource(40), label: 'text.txt' },
    openOutput: () => Promise.resolve(folder),
    host: { version: '0.0.0' },
  });
  const asModel = { name: 'awq', source: 'local', files: folder.files } as const;
  const text = textSource(12);
  const { reference } = await evaluateModel({ model: asModel, reference: model, engine, text, seqLen: 32 });
  return { report, folder, kld: reference?.kld.mean ?? NaN };
}

async function readNorm({ files }: Pick<MemoryFolder, 'files'> | ResolvedModel, name: string) {
  return (await openCheckpoint(files)).read(name);
}

describe('awq', () => {
  // The second has biases behind up_proj, the third norms over heads and as many value as query heads in none of them.
  for (const name of ['llama', 'llama-untied-llama3', 'qwen3'])
    it(`folds factors without changing what ${name} computes, and rounds better for it`, async () => {
      const model = await tinyModel(name);
      const fine = await quantize(model, { bits: 8 });
      // 8-bit rounding alone: a factor that went astray would show by orders of magnitude.
      const plain = await quantize(model, { bits: 8, method: 'rtn' });
      expect(fine.kld).toBeLessThan(2 * plain.kld);
      const norm = 'model.layers.0.input_layernorm.weight';
      expect(await readNorm(fine.folder, norm)).not.toEqual(await readNorm(model, norm));

      const { report } = await quantize(model, { bits: 3 });
      const total = (pick: 'loss' | 'rtnLoss') =>
        report.layers.reduce((sum, layer) => sum + (layer[pick] ?? NaN), 0);
      expect(total('loss')).toBeLessThan(total('rtnLoss'));
    });

  it('leaves norms alone in front of linears that stay in 16-bit', async () => {
    const model = await tinyModel('llama-linear');
    // Group size 64 fits down_proj alone, whose factors go into up_proj: 16-bit itself, so it must take them.
    const { kld, report } = await quantize(model, { bits: 8, groupSize: 64, skipUnsupported: true });
    expect(report.layers).toHaveLength(2);
    const plain = await quantize(model, { bits: 8, groupSize: 64, skipUnsupported: true, method: 'rtn' });
    expect(kld).toBeLessThan(2 * plain.kld);
  });
});
