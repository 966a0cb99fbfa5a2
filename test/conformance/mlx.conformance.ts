import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUNDLED, ROOT, halfbyte, runPeer, runScript, withFolder } from './peers.js';

/**
 * Plan: MLX folders of ours, of every width and group size and of every architecture, are loaded by mlx-lm on the CPU:
 * mx.dequantize gives our numbers bit for bit, its logits are ours (in float32 and in the dtypes of the folder); and folders
 * that mlx-lm made itself, quantized embeddings included, are read by us. Control: another model's logits must not fit.
 */
const MAX_NMSE_F32 = 1e-6;
const MAX_NMSE_NATIVE = 1e-4;
/** Folders of mlx-lm have scales in bfloat16, so mlx computes every sum in it: measured 5e-4 where float32 gives 2e-13. */
const MAX_NMSE_ALL_BF16 = 2e-3;
const TINY = join(ROOT, 'test/fixtures/tiny');
const TINY_MODELS = readdirSync(TINY, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);
const TEXT = join(BUNDLED, 'evaluation.txt');

interface MlxResult {
  readonly modules: number;
  readonly weights: { readonly modules: number; readonly problems: string[]; readonly differing: number };
  readonly nmse_f32: number;
  readonly nmse_native: number;
}

/** What mlx says about `model`, whose logits are compared with those of our forward of `reference`. */
async function check(
  folder: string,
  model: string,
  { reference = model, seqLen = 64 }: { readonly reference?: string; readonly seqLen?: number } = {},
): Promise<MlxResult> {
  await runScript('scripts/conformance/dequantized.ts', [model, join(folder, 'weights')]);
  await runScript('scripts/conformance/logits.ts', [
    reference,
    TEXT,
    join(folder, 'logits'),
    '2',
    String(seqLen),
  ]);
  const result = await runPeer('mlx_check.py', [
    'check',
    model,
    '--expected',
    join(folder, 'logits', 'model.safetensors'),
    '--weights',
    join(folder, 'weights', 'model.safetensors'),
  ]);
  return result as unknown as MlxResult;
}

function expectSame(result: MlxResult, maxNative = MAX_NMSE_NATIVE): void {
  expect(result.modules).toBeGreaterThan(0);
  expect(result.weights).toMatchObject({ modules: result.modules, problems: [], differing: 0 });
  expect(result.nmse_f32).toBeLessThanOrEqual(MAX_NMSE_F32);
  expect(result.nmse_native).toBeLessThanOrEqual(maxNative);
}

const quantize = (model: string, out: string, ...flags: readonly string[]): Promise<unknown> =>
  halfbyte(
    'quantize',
    model,
    '--out',
    out,
    '--format',
    'mlx',
    '--method',
    'rtn',
    '--device',
    'cpu',
    ...flags,
  );

/** SHA-256 of the weight files of a folder, by name. */
function weightHashes(folder: string): Record<string, string> {
  const files = readdirSync(folder).filter((name) => /^model.*\.safetensors/.test(name));
  return Object.fromEntries(
    files.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );
}

/** SHA-256 of what the codes of each module stand for. */
async function numbersOf(folder: string, model: string): Promise<Record<string, unknown>> {
  const out = mkdtempSync(join(folder, 'numbers-'));
  const { sha256 } = await runScript('scripts/conformance/dequantized.ts', [model, join(out, 'weights')]);
  return sha256 as Record<string, unknown>;
}

describe('MLX folders of ours in mlx-lm', () => {
  it.each([
    ['4 bits, groups of 64', '--bits', '4', '--group-size', '64'],
    ['4 bits, groups of 128, asymmetric', '--bits', '4', '--group-size', '128', '--asym'],
    ['2 bits, groups of 32, asymmetric', '--bits', '2', '--group-size', '32', '--asym'],
    ['3 bits, groups of 64', '--bits', '3', '--group-size', '64'],
    ['8 bits, groups of 128', '--bits', '8', '--group-size', '128'],
  ])('%s', async (_, ...flags) => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await quantize(BUNDLED, model, ...flags);
      expectSame(await check(folder, model));
    });
  });

  it.each(TINY_MODELS)('architecture %s', async (name) => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await quantize(join(TINY, name), model, '--bits', '4', '--group-size', '32');
      // mlx-lm knows no sliding window for mistral; the window of the tiny one is 11 tokens.
      expectSame(await check(folder, model, { seqLen: name === 'mistral' ? 11 : 64 }));
    });
  });

  it('return byte for byte through convert', async () => {
    await withFolder(async (folder) => {
      for (const flags of [[], ['--asym']]) {
        const [model, again] = [
          join(folder, `model${flags.join('')}`),
          join(folder, `again${flags.join('')}`),
        ];
        await quantize(BUNDLED, model, '--bits', '4', '--group-size', '64', ...flags);
        await halfbyte('convert', model, '--to', 'mlx', '--out', again);
        expect(Object.keys(weightHashes(model)).length).toBeGreaterThan(0);
        expect(weightHashes(again)).toEqual(weightHashes(model));
      }
    });
  });

  it('are told from another model', async () => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      await quantize(BUNDLED, model, '--bits', '3', '--group-size', '64');
      const result = await check(folder, model, { reference: BUNDLED });
      expect(result.nmse_f32).toBeGreaterThan(1e-3);
    });
  });
});

describe('folders that mlx-lm made', () => {
  it.each([
    ['4', '64', []],
    ['3', '32', ['--mixed']],
    ['5', '128', []],
  ])('%s bits, groups of %s %j', async (bits, groupSize, flags) => {
    await withFolder(async (folder) => {
      const model = join(folder, 'model');
      const sizes = ['--bits', bits, '--group-size', groupSize, ...flags];
      await runPeer('mlx_check.py', ['make', model, '--model', BUNDLED, ...sizes]);
      expectSame(await check(folder, model), MAX_NMSE_ALL_BF16);
      const again = join(folder, 'again');
      await halfbyte('convert', model, '--to', 'mlx', '--out', again);
      const [theirs, ours] = [await numbersOf(folder, model), await numbersOf(folder, again)];
      // We write embeddings in 16 bits; all else is kept.
      delete theirs['model.embed_tokens.weight'];
      expect(Object.keys(theirs)).toHaveLength(28);
      expect(ours).toEqual(theirs);
    });
  });
});
