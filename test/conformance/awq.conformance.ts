import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { askConsumer, convert, differingWeights, quantize } from './packed-folders.js';
import { BUNDLED, ROOT, runPeer, withFolder } from './peers.js';

/**
 * Plan: AWQ folders of ours, of every group size loaders take and of several architectures, are loaded by transformers
 * through GPTQModel; its logits are ours, and AutoAWQ unpacks our very numbers. A folder that AutoAWQ packed is read by us
 * to the same numbers, and converted to itself. Control: another model's logits must not fit.
 */
const SCRIPT = 'awq_check.py';
const TINY = join(ROOT, 'test/fixtures/tiny');
/** Loaders of AWQ compute in float16. */
const MAX_NMSE = 1e-4;
const MAX_PERPLEXITY_CHANGE = 0.002;

interface CheckResult {
  readonly weights: { readonly modules: number; readonly problems: string[]; readonly differing: number };
  readonly logits: { readonly nmse: number; readonly perplexity_change: number };
  readonly kernels: Readonly<Record<string, number>>;
}

async function check(scratch: string, model: string, reference = model): Promise<CheckResult> {
  return (await askConsumer(SCRIPT, scratch, model, { reference })) as unknown as CheckResult;
}

function expectSame(result: CheckResult): void {
  expect(result.weights.modules).toBeGreaterThan(0);
  expect(result.weights).toMatchObject({ problems: [], differing: 0 });
  expect(result.kernels).toEqual({ AwqTorchLinear: result.weights.modules });
  expect(result.logits.nmse).toBeLessThanOrEqual(MAX_NMSE);
  expect(Math.abs(result.logits.perplexity_change)).toBeLessThanOrEqual(MAX_PERPLEXITY_CHANGE);
}

const OURS: readonly { readonly name: string; readonly model: string; readonly flags: readonly string[] }[] =
  [
    { name: 'asymmetric, groups of 128', model: BUNDLED, flags: ['--asym'] },
    { name: 'symmetric, groups of 32', model: BUNDLED, flags: ['--method', 'rtn', '--group-size', '32'] },
    { name: 'asymmetric, by channel', model: BUNDLED, flags: ['--asym', '--group-size', '-1'] },
    {
      name: 'act-order with static groups',
      model: BUNDLED,
      flags: ['--asym', '--act-order', '--static-groups', '--group-size', '64'],
    },
    { name: 'made by AWQ itself: norms and rows folded', model: BUNDLED, flags: ['--method', 'awq'] },
    { name: 'with biases', model: join(TINY, 'qwen2'), flags: ['--asym', '--group-size', '32'] },
    {
      name: 'an untied head',
      model: join(TINY, 'llama-untied-llama3'),
      flags: ['--asym', '--group-size', '32'],
    },
  ];

describe('AWQ folders in transformers, GPTQModel and AutoAWQ', () => {
  it.each(OURS)('$name', async ({ model, flags }) => {
    await withFolder(async (folder) => {
      const out = join(folder, 'model');
      await quantize(model, out, '--format', 'awq', ...flags);
      expectSame(await check(folder, out));
      await convert(out, 'awq', join(folder, 'again'));
      expect(differingWeights(out, join(folder, 'again'))).toEqual([]);
      // The same codes through another format and back.
      await convert(out, 'compressed-tensors', join(folder, 'other'));
      await convert(join(folder, 'other'), 'awq', join(folder, 'back'));
      expect(differingWeights(out, join(folder, 'back'))).toEqual([]);
    });
  });

  it('notices another model', async () => {
    await withFolder(async (folder) => {
      await quantize(BUNDLED, join(folder, 'a'), '--format', 'awq', '--method', 'rtn', '--group-size', '32');
      await quantize(BUNDLED, join(folder, 'b'), '--format', 'awq', '--method', 'rtn', '--group-size', '128');
      const result = await check(folder, join(folder, 'a'), join(folder, 'b'));
      expect(result.logits.nmse).toBeGreaterThan(MAX_NMSE);
    });
  });
});

it('a folder that AutoAWQ packed is read to the same numbers and written again to the same bytes', async () => {
  await withFolder(async (folder) => {
    const made = join(folder, 'made');
    await runPeer(SCRIPT, ['make', made, '--model', BUNDLED, '--group-size', '64']);
    expectSame(await check(folder, made));
    const [ours, again] = [join(folder, 'ours'), join(folder, 'again')];
    await convert(made, 'awq', ours);
    await convert(ours, 'awq', again);
    expect(differingWeights(ours, again)).toEqual([]);
    expectSame(await check(join(folder, 'ours'), ours, made));
  });
});
