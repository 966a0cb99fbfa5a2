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
const TINY = join(ROOT, 'test/fixtures/tiny');
const RTN = ['--method', 'rtn', '--group-size', '32'];

interface HfResult {
  /** One number per model whose logits are compared. */
  readonly nmse_f32: number[];
  readonly nmse_native: number[];
  readonly dtype: string;
}

/** What transformers computes with `model`, against our forward of each of `others`. */
async function check(folder: string, model: string, others: readonly string[]): Promise<HfResult> {
  const files: string[] = [];
  for (const [i, other] of others.entries()) {
    const out = join(folder, `logits-${i}`);
    await runScript('scripts/conformance/logits.ts', [other, TEXT, out, '2', '64']);
    files.push(join(out, 'model.safetensors'));
  }
  return (await runPeer('hf_check.py', [model, '--expected', ...files])) as unknown as HfResult;
}

describe('16-bit folders in transformers', () => {
  it.each([
    ['bundled, rtn', BUNDLED, [...RTN, '--format', 'mlx']],
    ['bundled, nf4', BUNDLED, ['--method', 'nf4']],
    ['tiny llama-untied-llama3', join(TINY, 'llama-untied-llama3'), [...RTN, '--format', 'mlx']],
    ['tiny qwen2', join(TINY, 'qwen2'), [...RTN, '--format', 'mlx']],
  ])('%s', async (_, source, flags) => {
    await withFolder(async (folder) => {
      const [codes, model] = [join(folder, 'codes'), join(folder, 'model')];
      await halfbyte('quantize', source, '--out', codes, '--device', 'cpu', ...flags);
      await halfbyte('convert', codes, '--to', 'hf', '--out', model);
      const { nmse_f32, nmse_native } = await check(folder, model, [model, codes, source]);
      expect(nmse_f32[0]).toBeLessThanOrEqual(MAX_NMSE_F32);
      expect(nmse_native[0]).toBeLessThanOrEqual(MAX_NMSE_NATIVE);
      // Rounding to 16 bits is all that lies between the codes and this folder, quantization far more.
      expect(nmse_f32[1]).toBeLessThanOrEqual(MAX_NMSE_NATIVE);
      expect(nmse_f32[2]).toBeGreaterThan(10 * nmse_f32[1]);
    });
  });

  it('are written by quantize as well', async () => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await halfbyte('quantize', BUNDLED, '--out', model, '--device', 'cpu', ...RTN, '--format', 'hf');
      const { nmse_f32, dtype } = await check(folder, model, [model]);
      expect(nmse_f32[0]).toBeLessThanOrEqual(MAX_NMSE_F32);
      expect(dtype).toBe('torch.bfloat16');
    });
  });
});
