import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUNDLED, ROOT, halfbyte, runPeer, runScript, withFolder } from './peers.js';

/**
 * Plan: folders of ours hold, to the byte, every tensor that transformers with bitsandbytes saves for the same model, and
 * what bitsandbytes serializes at block sizes and architectures that transformers offers no setting for; transformers loads
 * them and its logits are ours. Folders that transformers made are read by us and come back unchanged. Controls: another
 * model's logits must not fit, another codebook's tensors must differ.
 */
const MAX_NMSE_F32 = 1e-6;
const MAX_NMSE_16_BIT = 1e-4;
const TINY = join(ROOT, 'test/fixtures/tiny');
const TEXT = join(BUNDLED, 'evaluation.txt');

interface CheckResult {
  readonly tensors: number;
  readonly differing: readonly string[];
  readonly linears: number;
  readonly nmse_f32: number;
  readonly native: string;
  readonly nmse_native: number;
}

const quantize = (model: string, out: string, ...flags: readonly string[]): Promise<unknown> =>
  halfbyte('quantize', model, '--out', out, '--device', 'cpu', ...flags);

/** What the peers say about `folder`, quantized from `model`; logits are those of our forward of `reference`. */
async function check(work: string, folder: string, model: string, reference = folder): Promise<CheckResult> {
  await runScript('scripts/conformance/logits.ts', [reference, TEXT, join(work, 'logits'), '2', '64']);
  const expected = join(work, 'logits', 'model.safetensors');
  const result = await runPeer('bitsandbytes_check.py', [
    'check',
    folder,
    '--model',
    model,
    '--expected',
    expected,
  ]);
  return result as unknown as CheckResult;
}

function expectSame(result: CheckResult): void {
  expect(result.differing).toEqual([]);
  expect(result.linears).toBeGreaterThan(0);
  expect(result.nmse_f32).toBeLessThanOrEqual(MAX_NMSE_F32);
  expect(result.nmse_native).toBeLessThanOrEqual(
    result.native === 'float32' ? MAX_NMSE_F32 : MAX_NMSE_16_BIT,
  );
}

/** SHA-256 of the weight files of a folder, by name. */
function weightHashes(folder: string): Record<string, string> {
  const files = readdirSync(folder).filter((name) => /^model.*\.safetensors/.test(name));
  expect(files.length).toBeGreaterThan(0);
  const hash = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  return Object.fromEntries(files.map((name) => [name, hash(name)]));
}

const FLAGS = [
  ['nf4', ''],
  ['nf4', '--no-double-quant'],
  ['fp4', ''],
  ['fp4', '--no-double-quant'],
] as const;

describe('bitsandbytes folders of ours', () => {
  it.each(FLAGS)('%s %s equals what transformers saves', async (codebook, flag) => {
    await withFolder(async (work) => {
      const flags = flag === '' ? [] : [flag];
      const [ours, theirs] = [join(work, 'ours'), join(work, 'theirs')];
      await quantize(BUNDLED, ours, '--method', codebook, ...flags);
      await runPeer('bitsandbytes_check.py', [
        'make',
        theirs,
        '--model',
        BUNDLED,
        '--codebook',
        codebook,
        ...flags,
      ]);
      const compared = await runPeer('bitsandbytes_check.py', ['compare', ours, theirs]);
      expect(compared.differing).toEqual([]);
      expect(compared.tensors).toBeGreaterThan(100);
      expectSame(await check(work, ours, BUNDLED));
    });
  });

  it.each([
    ['nf4', '32'],
    ['fp4', '128'],
    ['nf4', '256'],
  ])('%s in blocks of %s', async (codebook, blockSize) => {
    await withFolder(async (work) => {
      const ours = join(work, 'ours');
      await quantize(BUNDLED, ours, '--method', codebook, '--block-size', blockSize);
      expectSame(await check(work, ours, BUNDLED));
    });
  });

  it.each(readdirSync(TINY).filter((name) => !name.endsWith('.json')))('architecture %s', async (name) => {
    await withFolder(async (work) => {
      const ours = join(work, 'ours');
      await quantize(join(TINY, name), ours, '--method', 'nf4', '--block-size', '32');
      expectSame(await check(work, ours, join(TINY, name)));
    });
  });

  it('in blocks that cross row ends hold the same bytes', async () => {
    await withFolder(async (work) => {
      const ours = join(work, 'ours');
      await quantize(BUNDLED, ours, '--method', 'nf4', '--block-size', '4096');
      const result = await check(work, ours, BUNDLED);
      // Not the logits: bitsandbytes 0.50 takes the wrong absmax for such blocks on CPUs with AVX-512.
      expect(result.differing).toEqual([]);
    });
  });

  it('are told from other models and codebooks', async () => {
    await withFolder(async (work) => {
      const [nf4, fp4] = [join(work, 'nf4'), join(work, 'fp4')];
      await quantize(BUNDLED, nf4, '--method', 'nf4');
      await quantize(BUNDLED, fp4, '--method', 'fp4');
      const compared = await runPeer('bitsandbytes_check.py', ['compare', nf4, fp4]);
      expect(compared.differing).not.toEqual([]);
      const result = await check(work, nf4, BUNDLED, fp4);
      expect(result.nmse_f32).toBeGreaterThan(1e-4);
    });
  });
});

describe('bitsandbytes folders of transformers', () => {
  it.each(FLAGS)('%s %s are read and come back unchanged', async (codebook, flag) => {
    await withFolder(async (work) => {
      const flags = flag === '' ? [] : [flag];
      const [theirs, again, third] = [join(work, 'theirs'), join(work, 'again'), join(work, 'third')];
      await runPeer('bitsandbytes_check.py', [
        'make',
        theirs,
        '--model',
        BUNDLED,
        '--codebook',
        codebook,
        ...flags,
      ]);
      expectSame(await check(work, theirs, BUNDLED));
      await halfbyte('convert', theirs, '--to', 'bitsandbytes', '--out', again);
      const compared = await runPeer('bitsandbytes_check.py', ['compare', again, theirs]);
      expect(compared.differing).toEqual([]);
      await halfbyte('convert', again, '--to', 'bitsandbytes', '--out', third);
      expect(weightHashes(third)).toEqual(weightHashes(again));
    });
  });
});
