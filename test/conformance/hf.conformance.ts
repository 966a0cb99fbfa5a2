import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUNDLED, ROOT, halfbyte, runPeer, runScript, withFolder } from './peers.js';

/**
 * Plan: 16-bit folders that `convert --to hf` makes of quantized ones are loaded by transformers as ordinary checkpoints, and
 * its logits are those of our forward of the same folder; quantizing onto the format directly does the same. Control: the
 * logits of the model before quantization must not fit.
 */
const MAX_NMSE_F32 = 1e-6;
const MAX_NMSE_NATIVE = 1e-4;
const TEXT = join(BUNDLED, 'evaluation.txt');

const logits = (model: string, out: string): Promise<unknown> =>
  runScript('scripts/conformance/logits.ts', [model, TEXT, out, '2', '64']);

const check = (model: string, recorded: string): Promise<Record<string, unknown>> =>
  runPeer('hf_check.py', [model, '--expected', join(recorded, 'model.safetensors')]);

describe('16-bit folders in transformers', () => {
  it.each([
    ['bundled', BUNDLED, ['--method', 'rtn', '--bits', '4', '--group-size', '64']],
    ['bundled, nf4', BUNDLED, ['--method', 'nf4']],
    [
      'llama-untied-llama3',
      join(ROOT, 'test/fixtures/tiny/llama-untied-llama3'),
      ['--method', 'rtn', '--group-size', '32'],
    ],
    ['qwen2', join(ROOT, 'test/fixtures/tiny/qwen2'), ['--method', 'rtn', '--group-size', '32']],
  ])('%s', async (_, source, flags) => {
    await withFolder(async (folder) => {
      const [quantized, model] = [join(folder, 'quantized'), join(folder, 'model')];
      await halfbyte('quantize', source, '--out', quantized, '--device', 'cpu', ...flags);
      await halfbyte('convert', quantized, '--to', 'hf', '--out', model);
      await logits(model, join(folder, 'ours'));
      const result = await check(model, join(folder, 'ours'));
      expect(result.nmse_f32).toBeLessThanOrEqual(MAX_NMSE_F32);
      expect(result.nmse_native).toBeLessThanOrEqual(MAX_NMSE_NATIVE);
      // Rounding to 16 bits is all that lies between the codes and this folder.
      await logits(quantized, join(folder, 'codes'));
      expect((await check(model, join(folder, 'codes'))).nmse_f32).toBeLessThanOrEqual(1e-3);
      await logits(source, join(folder, 'source'));
      expect((await check(model, join(folder, 'source'))).nmse_f32).toBeGreaterThan(1e-5);
    });
  });

  it('are written by quantize as well', async () => {
    await withFolder(async (folder) => {
      const flags = [
        '--format',
        'hf',
        '--method',
        'rtn',
        '--bits',
        '4',
        '--group-size',
        '64',
        '--device',
        'cpu',
      ];
      await halfbyte('quantize', BUNDLED, '--out', join(folder, 'model'), ...flags);
      await logits(join(folder, 'model'), join(folder, 'ours'));
      const result = await check(join(folder, 'model'), join(folder, 'ours'));
      expect(result.nmse_f32).toBeLessThanOrEqual(MAX_NMSE_F32);
      expect(result.dtype).toBe('torch.bfloat16');
    });
  });
});
