/** Wrong usage exits 2 before anything happens; help and version exit 0; results go to stdout and nothing else does. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, runCli, temporaryFolder, tiny, writeText } from './run-cli.js';

const work = temporaryFolder();
const text = writeText(work, 'text.txt', 40);

describe('usage', () => {
  const wrong: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['an unknown verb', ['quantise', 'x'], /unknown command 'quantise'/],
    ['an unknown option', ['inspect', 'x', '--colour'], /unknown option '--colour'/],
    ['a missing --out', ['quantize', 'x'], /--out/],
    ['a missing argument', ['inspect'], /path/],
    [
      'an impossible bit width',
      ['quantize', 'x', '--out', 'y', '--bits', '7'],
      /--bits.*One of 2, 3, 4, 5, 6, 8/s,
    ],
    ['a damping of 1', ['quantize', 'x', '--out', 'y', '--damp', '1'], /--damp.*between 0 and 1/s],
    ['a size that is none', ['quantize', 'x', '--out', 'y', '--gpu-memory', 'lots'], /--gpu-memory.*6GB/s],
    [
      'two orders',
      ['quantize', 'x', '--out', 'y', '--act-order', '--group-aware-order'],
      /cannot be used with/,
    ],
  ];
  for (const [what, args, message] of wrong)
    it(`${what} exits 2`, async () => {
      const result = await runCli(args);
      expect(result).toMatchObject({ code: 2, stdout: '' });
      expect(result.stderr).toMatch(message);
      expect(result.stderr).toMatch(/^halfbyte: /);
    });

  it('--help shows examples and exits 0', async () => {
    const result = await runCli(['quantize', '--help']);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    for (const option of [
      '--group-aware-order',
      '--skip-unsupported',
      '--gpu-memory',
      '--shuffle',
      'Examples:',
    ])
      expect(result.stdout).toContain(option);
  });

  it('--version prints the version', async () => {
    const result = await runCli(['--version']);
    expect(result.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(result.code).toBe(0);
  });
});

describe('the other verbs', () => {
  it('inspect prints one JSON document', async () => {
    const result = await runCli(['inspect', tiny('llama'), '--json']);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(result.stdout)).toMatchObject({
      architecture: 'LlamaForCausalLM',
      unsupported: null,
      parameters: 58688,
      bitsPerWeight: 16,
      dtypes: { BF16: { tensors: 20, bytes: 117376 } },
      quantization: null,
    });
  });

  it('evaluate prints the keys of the contract; a model is its own perfect reference', async () => {
    const args = ['--text', text, '--device', 'cpu', '--max-windows', '3', '--seq-len', '32', '--json'];
    const result = await runCli(['evaluate', tiny('llama'), '--reference', tiny('llama'), ...args]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const report = JSON.parse(result.stdout) as { perplexity: number };
    expect(report).toMatchObject({
      tokens: 93,
      protocol: { text: 'text.txt', seqLen: 32, stride: 32, windows: 3, dtype: 'float32' },
      reference: { sameTop: 1, lnPplRatio: 0, rmsDeltaP: 0, perplexity: report.perplexity },
    });
    expect(Object.keys((report as unknown as { reference: { kld: object } }).reference.kld)).toEqual([
      ...['mean', 'median', 'p99', 'max'],
    ]);
  });

  it('doctor finds the cpu engine and lets it answer known questions', async () => {
    const result = await runCli(['doctor', '--json']);
    expect(result.code).toBe(0);
    const report = JSON.parse(result.stdout) as { engines: { device: string; ok: boolean }[] };
    expect(report.engines[0]).toMatchObject({ device: 'cpu', ok: true, error: null });
  });

  it('doctor without any Vulkan driver says how to install one', async () => {
    const nothing = join(ROOT, 'no-such-driver.json');
    const result = await runCli(['doctor'], { VK_ICD_FILENAMES: nothing, VK_DRIVER_FILES: nothing });
    expect(result.stdout).toMatch(/missing: a WebGPU adapter/);
    expect(result.stdout).toMatch(/apt-get install -y mesa-vulkan-drivers/);
    expect(result.code).toBe(0);
  });
});
