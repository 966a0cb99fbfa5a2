import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUNDLED, halfbyte, ROOT, runNpmPeer, runPeer, runScript, withFolder } from './peers.js';

/**
 * Plan: ONNX folders that `quantize` writes, of the bundled model and of every tiny architecture, in onnxruntime (Python):
 * logits of a batch, and of single steps through the cache, against our own forward of the same folder; perplexity; the
 * graph in onnx.checker. transformers.js generates from the folder, from the disk alone, the tokens that our forward
 * chooses. Control: another folder's logits disagree.
 */
const BARS: Readonly<Record<string, number>> = { 'onnx-q4': 1e-6, 'onnx-q4f16': 1e-4 };
const MAX_PERPLEXITY_CHANGE = 0.002;
const TINY = join(ROOT, 'test/fixtures/tiny');
const TEXT = join(BUNDLED, 'evaluation.txt');

const CASES = [
  { format: 'onnx-q4', flags: ['--method', 'gptq', '--group-size', '32'] },
  { format: 'onnx-q4', flags: ['--method', 'gptq', '--group-size', '128', '--asym'] },
  { format: 'onnx-q4', flags: ['--method', 'rtn', '--bits', '8', '--group-size', '-1', '--asym'] },
  { format: 'onnx-q4', flags: ['--method', 'rtn', '--bits', '2', '--group-size', '16'] },
  { format: 'onnx-q4f16', flags: ['--method', 'gptq', '--group-size', '64'] },
  { format: 'onnx-q4f16', flags: ['--method', 'rtn', '--group-size', '32', '--asym'] },
] as const;

interface Quantized {
  readonly model: string;
  readonly format: string;
  readonly flags: readonly string[];
}

async function quantize(out: string, { model, format, flags }: Quantized): Promise<void> {
  const calibration = flags.includes('gptq') ? ['--samples', '8', '--seq-len', '128'] : [];
  const common = ['--out', out, '--format', format, '--device', 'cpu', '--no-verify'];
  await halfbyte('quantize', model, ...common, ...calibration, ...flags);
}

/** The folder in onnxruntime against our forward of `reference`. */
async function check(folder: string, reference: string, tokens: number): Promise<Record<string, number>> {
  return withFolder(async (scratch) => {
    const out = join(scratch, 'logits');
    await runScript('scripts/conformance/logits.ts', [reference, TEXT, out, '3', String(tokens)]);
    const expected = join(out, 'model.safetensors');
    return (await runPeer('onnx_check.py', [folder, '--expected', expected])) as Record<string, number>;
  });
}

function expectAgreement(result: Record<string, number>, format: string): void {
  expect(result.nmse).toBeLessThanOrEqual(BARS[format]);
  expect(result.nmseStepped).toBeLessThanOrEqual(BARS[format]);
  expect(Math.abs(result.perplexity / result.perplexityExpected - 1)).toBeLessThanOrEqual(
    MAX_PERPLEXITY_CHANGE,
  );
}

describe('ONNX folders in onnxruntime', () => {
  it.each(CASES)('the bundled model as $format, $flags', async ({ format, flags }) => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await quantize(model, { model: BUNDLED, format, flags });
      expectAgreement(await check(model, model, 128), format);
    });
  });

  it.each(readdirSync(TINY).filter((name) => !name.endsWith('.json')))('the tiny %s', async (name) => {
    await withFolder(async (folder) => {
      for (const format of ['onnx-q4', 'onnx-q4f16']) {
        const model = join(folder, format);
        await quantize(model, {
          model: join(TINY, name),
          format,
          flags: ['--method', 'rtn', '--group-size', '32'],
        });
        expectAgreement(await check(model, model, 40), format);
      }
    });
  });

  it('notices another model', async () => {
    await withFolder(async (folder) => {
      const flags = ['--method', 'rtn', '--group-size', '32'];
      await quantize(join(folder, 'a'), { model: BUNDLED, format: 'onnx-q4', flags });
      await quantize(join(folder, 'b'), { model: BUNDLED, format: 'onnx-q4', flags: [...flags, '--asym'] });
      expect((await check(join(folder, 'a'), join(folder, 'b'), 64)).nmse).toBeGreaterThan(1e-4);
    });
  });
});

describe('ONNX folders in transformers.js', () => {
  it.each(['onnx-q4', 'onnx-q4f16'])('%s generates what our forward chooses', async (format) => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await quantize(model, { model: BUNDLED, format, flags: ['--method', 'gptq', '--group-size', '32'] });
      const settings = ['--prompt', 'The history of the city', '--tokens', '24'];
      const told = await runNpmPeer('transformers-js.mjs', [model, '--dtype', format.slice(5), ...settings]);
      const prompt = (told.prompt as number[]).join();
      const own = await runScript('scripts/conformance/greedy.ts', [model, prompt, '24']);
      expect(told.generated).toHaveLength(24);
      expect(told.generated).toEqual(own.generated);
      // Without a dtype config.json says which file there is.
      const untold = await runNpmPeer('transformers-js.mjs', [model, ...settings]);
      expect(untold.generated).toEqual(told.generated);
    });
  });
});
