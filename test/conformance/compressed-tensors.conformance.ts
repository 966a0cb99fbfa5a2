import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { askConsumer, convert, differingWeights, quantize } from './packed-folders.js';
import { BUNDLED, ROOT, runPeer, withFolder } from './peers.js';

/**
 * Plan: compressed-tensors folders of ours, of every scheme and of several architectures, are loaded by transformers; its
 * logits are ours, and the library decompresses our very numbers. Folders that the library packed itself are read by us to
 * the same numbers, and converted to themselves. Control: another model's logits must not fit.
 */
const SCRIPT = 'compressed_tensors_check.py';
const TINY = join(ROOT, 'test/fixtures/tiny');
const MAX_NMSE_F32 = 1e-6;
const MAX_NMSE_F16 = 1e-4;
const MAX_PERPLEXITY_CHANGE = 0.002;

interface CheckResult {
  readonly weights: {
    readonly modules: number;
    readonly problems: string[];
    readonly differing: number;
    readonly scale_dtypes: string[];
  };
  readonly float32: { readonly nmse: number; readonly perplexity_change: number };
  readonly float16: { readonly nmse: number };
}

async function check(scratch: string, model: string, reference = model): Promise<CheckResult> {
  return (await askConsumer(SCRIPT, scratch, model, { reference })) as unknown as CheckResult;
}

function expectSame(result: CheckResult): void {
  expect(result.weights.modules).toBeGreaterThan(0);
  expect(result.weights).toMatchObject({ problems: [], differing: 0 });
  expect(result.float32.nmse).toBeLessThanOrEqual(MAX_NMSE_F32);
  expect(Math.abs(result.float32.perplexity_change)).toBeLessThanOrEqual(MAX_PERPLEXITY_CHANGE);
  expect(result.float16.nmse).toBeLessThanOrEqual(MAX_NMSE_F16);
}

const OURS: readonly { readonly name: string; readonly model: string; readonly flags: readonly string[] }[] =
  [
    { name: 'W4A16 symmetric, groups of 128', model: BUNDLED, flags: [] },
    { name: 'W4A16 asymmetric, groups of 32', model: BUNDLED, flags: ['--asym', '--group-size', '32'] },
    { name: 'W8A16 by channel', model: BUNDLED, flags: ['--bits', '8', '--group-size', '-1'] },
    {
      name: 'W4A16 in act-order with static groups',
      model: BUNDLED,
      flags: ['--act-order', '--static-groups', '--group-size', '64'],
    },
    {
      name: 'W8A16 asymmetric, with biases',
      model: join(TINY, 'qwen2'),
      flags: ['--bits', '8', '--asym', '--group-size', '32'],
    },
    {
      name: 'the head too',
      model: join(TINY, 'llama-untied-llama3'),
      flags: ['--lm-head', '--group-size', '32'],
    },
  ];

describe('compressed-tensors folders in transformers', () => {
  it.each(OURS)('$name', async ({ model, flags }) => {
    await withFolder(async (folder) => {
      const out = join(folder, 'model');
      await quantize(model, out, '--format', 'compressed-tensors', ...flags);
      const result = await check(folder, out);
      expectSame(result);
      expect(result.weights.scale_dtypes).toEqual(['float16']);
      await convert(out, 'compressed-tensors', join(folder, 'again'));
      expect(differingWeights(out, join(folder, 'again'))).toEqual([]);
    });
  });

  it('notices another model', async () => {
    await withFolder(async (folder) => {
      await quantize(BUNDLED, join(folder, 'a'), '--format', 'compressed-tensors', '--group-size', '32');
      await quantize(BUNDLED, join(folder, 'b'), '--format', 'compressed-tensors');
      const result = await check(folder, join(folder, 'a'), join(folder, 'b'));
      expect(result.float32.nmse).toBeGreaterThan(MAX_NMSE_F16);
    });
  });

  it('moving groups of act-order, which the library no longer loads, are refused', async () => {
    await withFolder(async (folder) => {
      const run = quantize(BUNDLED, join(folder, 'model'), '--format', 'compressed-tensors', '--act-order');
      await expect(run).rejects.toThrow(/static groups, or write gptq/);
    });
  });
});

describe('folders that compressed-tensors packed', () => {
  it.each([
    ['symmetric groups', ['--group-size', '64']],
    ['asymmetric groups', ['--asym', '--group-size', '32']],
    ['channels of 8 bits', ['--bits', '8', '--group-size', '-1']],
    ['asymmetric channels', ['--bits', '8', '--group-size', '-1', '--asym']],
  ])('of %s are read to the same numbers and written again', async (_, flags) => {
    await withFolder(async (folder) => {
      const made = join(folder, 'made');
      await runPeer(SCRIPT, ['make', made, '--model', BUNDLED, ...flags]);
      expectSame(await check(folder, made));
      const [ours, scratch] = [join(folder, 'ours'), join(folder, 'scratch')];
      await convert(made, 'compressed-tensors', ours);
      mkdirSync(scratch);
      // Its scales are float32 numbers that float16 holds; ours are float16.
      const result = await check(scratch, ours, made);
      expectSame(result);
      expect(result.weights.scale_dtypes).toEqual(['float16']);
    });
  });
});
