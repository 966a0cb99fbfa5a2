import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli, tiny } from './run-cli.js';

let work: string;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'halfbyte-convert-'));
});
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
});

interface Verify {
  readonly ok: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
  readonly evaluation: { readonly reference?: { readonly kld: { readonly mean: number } } } | null;
}

async function json(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await runCli([...args, '--device', 'cpu', '--json', '--quiet']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** Weight files of a folder, by name. */
function weights(folder: string): Map<string, Buffer> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const files = names.filter((name) => /\.(safetensors|gguf|onnx|onnx_data)$/.test(name)).sort();
  return new Map(files.map((name) => [name, readFileSync(join(folder, name))]));
}

describe('several formats of one run', () => {
  // One grid that all of these hold: 4 bits, symmetric, groups of 32.
  const FORMATS = ['gptq', 'gptq_v2', 'compressed-tensors', 'gguf-q4_0', 'mlx', 'onnx-q4', 'hf'];
  let report: { outputs: { format: string; out: string }[]; verify: Verify[]; layers: unknown[] };
  beforeAll(async () => {
    const args = ['--method', 'rtn', '--group-size', '32', '--sym', '--format', FORMATS.join(',')];
    report = (await json('quantize', tiny('llama'), '--out', join(work, 'all'), ...args)) as typeof report;
  }, 60_000);

  it('lie side by side, each complete and as far from the original as the others', () => {
    expect(report.outputs.map(({ format }) => format)).toEqual(FORMATS);
    const klds = report.verify.map(({ evaluation }) => evaluation?.reference?.kld.mean ?? NaN);
    // gguf quantizes the embedding as well, hf rounds to the model's bfloat16.
    for (const [i, kld] of klds.entries()) {
      expect(report.verify[i].ok).toBe(true);
      if (!['gguf-q4_0', 'hf'].includes(FORMATS[i])) expect(kld / klds[0]).toBeCloseTo(1, 3);
    }
  });

  for (const to of ['gptq_v2', 'compressed-tensors', 'mlx', 'onnx-q4'])
    it(`convert into ${to} gives the bytes that quantize wrote`, async () => {
      const out = join(work, `gptq-to-${to}`);
      const converted = await json('convert', join(work, 'all/gptq'), '--to', to, '--out', out);
      expect(converted).toMatchObject({ from: 'gptq', to, kept: 14, requantized: [] });
      expect(weights(out)).toEqual(weights(join(work, 'all', to)));
    }, 60_000);

  for (const from of FORMATS.filter((name) => name !== 'hf'))
    it(`convert from ${from} into itself changes no byte of the weights`, async () => {
      const out = join(work, `same-${from}`);
      await json('convert', join(work, 'all', from), '--to', from, '--out', out, '--no-verify');
      expect(weights(out)).toEqual(weights(join(work, 'all', from)));
    }, 60_000);
});

describe('a grid that the target cannot hold', () => {
  const out = (): string => join(work, 'refused');

  it('is refused with the formats that can, and rounded anew only with --requantize', async () => {
    const nf4 = join(work, 'nf4');
    await json('quantize', tiny('llama'), '--out', nf4, '--method', 'nf4');
    const refused = await runCli(['convert', nf4, '--to', 'gptq_v2', '--out', out(), '--device', 'cpu']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(
      /gptq_v2 cannot hold all codes exactly:\n.*q_proj and 13 more: nf4 in blocks of 64/,
    );
    expect(refused.stderr).toMatch(/→ choose one that holds them \(.*bitsandbytes.*\), or add --requantize/);
    expect(existsSync(out())).toBe(false);
    const anew = join(work, 'anew');
    const report = await json('convert', nf4, '--to', 'gptq_v2', '--out', anew, '--requantize');
    expect(report.requantized).toHaveLength(14);
    const back = await json(
      ...['convert', anew, '--to', 'bitsandbytes', '--out', join(work, 'back'), '--requantize'],
    );
    expect(back.requantized).toHaveLength(14);
    const verify = report.verify as Verify;
    expect(verify.evaluation?.reference?.kld.mean).toBeGreaterThan(0);
  }, 60_000);

  it('is refused by quantize before anything is read, every linear named', async () => {
    const args = ['--format', 'awq', '--bits', '3', '--method', 'rtn', '--group-size', '32'];
    const refused = await runCli(['quantize', tiny('llama'), '--out', out(), ...args, '--device', 'cpu']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/14 linears cannot be quantized.*q_proj: .*awq/s);
  });

  it('is not asked of formats of 16-bit numbers: that is what convert is for', async () => {
    const args = ['--format', 'gguf-f16', '--device', 'cpu'];
    const refused = await runCli(['quantize', tiny('llama'), '--out', out(), ...args]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/nothing to quantize\n.*convert MODEL --to gguf-f16/);
    const report = await json('convert', tiny('llama'), '--to', 'gguf-f16', '--out', join(work, 'f16'));
    const verify = report.verify as Verify;
    expect(verify.evaluation?.reference?.kld.mean).toBeLessThan(1e-6);
    // Only writing tells how many: the report and the record must have heard of it.
    expect(report.notes).toEqual([expect.stringMatching(/^\d+ of \d+ bfloat16 weights lie below 8e-6/)]);
    const record = JSON.parse(readFileSync(join(work, 'f16/halfbyte.json'), 'utf8')) as { notes: string[] };
    expect(record.notes).toEqual(report.notes);
  }, 60_000);

  it('is not made from 16-bit numbers: that is what quantize is for', async () => {
    const refused = await runCli([
      'convert',
      tiny('llama'),
      '--to',
      'mlx',
      '--out',
      out(),
      '--device',
      'cpu',
    ]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/not quantized.*\n.*halfbyte quantize MODEL --method rtn --format mlx/);
  });
});

describe('verify', () => {
  let good: string;
  beforeAll(async () => {
    good = join(work, 'good');
    await json(
      'quantize',
      tiny('qwen3'),
      '--out',
      good,
      '--method',
      'rtn',
      '--group-size',
      '32',
      '--no-verify',
    );
  }, 60_000);

  /** A copy of the good folder with one thing changed. */
  function broken(name: string, change: (folder: string) => void): string {
    const folder = join(work, name);
    mkdirSync(folder);
    for (const file of readdirSync(good)) copyFileSync(join(good, file), join(folder, file));
    change(folder);
    return folder;
  }

  it('passes a complete folder and measures it against its original', async () => {
    const report = (await json('verify', good, '--reference', tiny('qwen3'))) as unknown as Verify;
    expect(report.ok).toBe(true);
    expect(report.checks.map(({ name }) => name)).toEqual([
      ...['config and weights', 'index', 'head', 'tokenizer', 'chat template', 'values', 'hashes', 'forward'],
    ]);
    expect(report.evaluation?.reference?.kld.mean).toBeLessThan(0.2);
  });

  const damages: [what: string, failing: string, change: (folder: string) => void][] = [
    [
      'a flipped bit in the weights',
      'hashes',
      (folder) => {
        const file = join(folder, 'model.safetensors');
        const bytes = readFileSync(file);
        bytes[bytes.length - 9] ^= 1;
        writeFileSync(file, bytes);
      },
    ],
    ['a missing tokenizer', 'tokenizer', (folder) => rmSync(join(folder, 'tokenizer.json'))],
    [
      'a template that does not parse',
      'chat template',
      (folder) => writeFileSync(join(folder, 'chat_template.jinja'), '{% for x in %}'),
    ],
    [
      'a truncated weight file',
      'config and weights',
      (folder) => {
        const file = join(folder, 'model.safetensors');
        writeFileSync(file, readFileSync(file).subarray(0, -100));
      },
    ],
    [
      'a stray shard',
      'index',
      (folder) => copyFileSync(join(folder, 'model.safetensors'), join(folder, 'stray.safetensors')),
    ],
  ];
  for (const [what, failing, change] of damages)
    it(`finds ${what}, says so and exits 1`, async () => {
      const folder = broken(what.replaceAll(' ', '-'), change);
      const { code, stdout, stderr } = await runCli(['verify', folder, '--device', 'cpu', '--json']);
      expect(code).toBe(1);
      const report = JSON.parse(stdout) as Verify;
      expect(report.checks.filter(({ ok }) => !ok).map(({ name }) => name)).toContain(failing);
      expect(stderr).toMatch(new RegExp(`checks failed: .*${failing}`));
    });
});
