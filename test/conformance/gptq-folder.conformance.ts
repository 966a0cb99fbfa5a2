import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUNDLED, halfbyte, runPeer, runScript, withFolder } from './peers.js';

/**
 * Plan: folders of every kind that `quantize` writes are loaded by transformers with GPTQModel, and by an independent
 * dequantizer in PyTorch; logits must agree with our own forward of the same folder. Control: a folder whose scales
 * were tampered with must disagree (in the dequantizer's own test below, by comparing two different models).
 */
const MAX_NMSE = 1e-5;
const WINDOWS = ['4', '128'];

const FOLDERS: readonly {
  readonly name: string;
  readonly flags: readonly string[];
  readonly loaders: readonly string[];
}[] = [
  { name: '4-bit g128', flags: [], loaders: ['gptqmodel', 'torch'] },
  { name: '4-bit g64 asym (v2)', flags: ['--asym', '--group-size', '64'], loaders: ['gptqmodel', 'torch'] },
  { name: '4-bit g128 act-order', flags: ['--act-order'], loaders: ['gptqmodel', 'torch'] },
  {
    name: '8-bit per channel',
    flags: ['--bits', '8', '--group-size', '-1'],
    loaders: ['gptqmodel', 'torch'],
  },
  {
    name: '3-bit g32 act-order static',
    flags: ['--bits', '3', '--group-size', '32', '--act-order', '--static-groups'],
    loaders: ['gptqmodel', 'torch'],
  },
  {
    name: '2-bit g32 group-aware, mse, refined',
    flags: ['--bits', '2', '--group-size', '32', '--group-aware-order', '--range', 'mse', '--refine', '2'],
    loaders: ['gptqmodel', 'torch'],
  },
];

async function quantizeBundled(out: string, flags: readonly string[]): Promise<void> {
  await halfbyte(
    'quantize',
    BUNDLED,
    '--out',
    out,
    '--device',
    'cpu',
    '--samples',
    '8',
    '--seq-len',
    '128',
    ...flags,
  );
}

describe('GPTQ folders in their real consumers', () => {
  it.each(FOLDERS)('$name', async ({ flags, loaders }) => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await quantizeBundled(model, flags);
      await runScript('scripts/conformance/logits.ts', [
        model,
        join(BUNDLED, 'evaluation.txt'),
        join(folder, 'logits'),
        ...WINDOWS,
      ]);
      for (const loader of loaders) {
        const expected = join(folder, 'logits', 'model.safetensors');
        const result = await runPeer('load_gptq.py', [model, '--expected', expected, '--loader', loader]);
        expect(result.loader).toBe(loader);
        expect(result.nmse, loader).toBeLessThanOrEqual(MAX_NMSE);
      }
    });
  });

  it('notices another model', async () => {
    await withFolder(async (folder) => {
      await quantizeBundled(join(folder, 'a'), ['--bits', '4']);
      await quantizeBundled(join(folder, 'b'), ['--bits', '2', '--group-size', '32']);
      await runScript('scripts/conformance/logits.ts', [
        join(folder, 'a'),
        join(BUNDLED, 'evaluation.txt'),
        join(folder, 'logits'),
        ...WINDOWS,
      ]);
      const expected = join(folder, 'logits', 'model.safetensors');
      const result = await runPeer('load_gptq.py', [
        join(folder, 'b'),
        '--expected',
        expected,
        '--loader',
        'torch',
      ]);
      expect(result.nmse).toBeGreaterThan(1e-4);
    });
  });
});
