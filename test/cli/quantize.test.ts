/** The main job through the real command line on tiny checkpoints: JSON contract, files written, determinism. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyModel } from './broken-models.js';
import { entries, runCli, temporaryFolder, tiny, writeText } from './run-cli.js';

const work = temporaryFolder();
const calib = writeText(work, 'calib.txt', 200);
const COMMON = ['--device', 'cpu', '--group-size', '32', '--samples', '6', '--calib', calib];

interface Report {
  readonly out: string;
  readonly bitsPerWeight: number;
  readonly bytes: number;
  readonly layers: readonly Record<string, unknown>[];
  readonly skipped: readonly { name: string; reason: string }[];
}

async function quantize(model: string, out: string, args: readonly string[]): Promise<Report> {
  const result = await runCli(['quantize', model, '--out', out, '--json', ...args]);
  expect(result.stderr.replace(/^halfbyte: (window length|checkpoint_format gptq_v2:) .*\n/gm, '')).toBe('');
  expect(result.code).toBe(0);
  return JSON.parse(result.stdout) as Report;
}

describe('quantize', () => {
  it('prints the JSON of the contract and writes a complete folder', async () => {
    const out = join(work, 'gptq');
    const report = await quantize(tiny('llama'), out, COMMON);
    expect(Object.keys(report).slice(0, 10)).toEqual([
      ...['out', 'method', 'bitsPerWeight', 'bytes', 'seconds', 'layers', 'skipped'],
      ...['peakGpuBytes', 'peakRssBytes', 'adapter'],
    ]);
    expect(report).toMatchObject({ out, method: 'gptq', skipped: [] });
    expect(report.layers).toHaveLength(14);
    for (const layer of report.layers) {
      expect(Object.keys(layer).slice(0, 8)).toEqual([
        ...['name', 'method', 'loss', 'rtnLoss', 'relativeOutputError', 'damp', 'refined', 'groups'],
      ]);
      expect(layer).toMatchObject({ method: 'gptq', damp: 0.01, refined: 0, groups: 2 });
      expect(layer.loss).toBeGreaterThan(0);
      expect(layer.loss).toBeLessThan(layer.rtnLoss as number);
    }
    // 4 bits, a 16-bit scale and a 4-bit zero per 32 columns, a 32-bit g_idx per column of N rows.
    expect(report.bitsPerWeight).toBeCloseTo(4 + 20 / 32 + 0.5833, 3);
    expect(report.bytes).toBe(readFileSync(join(out, 'model.safetensors')).length);
    expect(entries(out)).toEqual([
      ...['README.md', 'config.json', 'generation_config.json', 'halfbyte.json', 'model.safetensors'],
      ...['quantize_config.json', 'tokenizer.json', 'tokenizer_config.json'],
    ]);
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
      expect(readFileSync(join(out, file))).toEqual(readFileSync(join(tiny('llama'), file)));
  });

  it('records hashes of what it read and wrote, and no path of this machine', () => {
    const out = join(work, 'gptq');
    const text = readFileSync(join(out, 'halfbyte.json'), 'utf8');
    const record = JSON.parse(text) as {
      files: Record<string, string>;
      source: { model: string; sha256: Record<string, string> };
      calibration: { sha256: string };
      command: string;
    };
    const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
    expect(Object.keys(record.files)).toEqual(
      entries(out)
        .filter((file) => file !== 'halfbyte.json')
        .sort(),
    );
    for (const [file, hash] of Object.entries(record.files)) expect(hash).toBe(sha256(join(out, file)));
    expect(record.source.sha256['model.safetensors']).toBe(sha256(join(tiny('llama'), 'model.safetensors')));
    expect(record.calibration.sha256).toBe(sha256(calib));
    expect(record.command).toBe(
      'halfbyte quantize llama --out DIR --format gptq --bits 4 --group-size 32 --sym --calib calib.txt --samples 6 --seq-len 2048',
    );
    expect(text + readFileSync(join(out, 'README.md'), 'utf8')).not.toContain(work);
  });

  it('writes byte-identical folders twice, in shards as well', async () => {
    const args = [...COMMON, '--max-shard-size', '20kB', '--act-order', '--refine', '1'];
    await quantize(tiny('qwen2'), join(work, 'one'), [...args, '--skip-unsupported']);
    await quantize(tiny('qwen2'), join(work, 'two'), [...args, '--skip-unsupported']);
    const files = entries(join(work, 'one'));
    expect(files).toContain('model.safetensors.index.json');
    expect(entries(join(work, 'two'))).toEqual(files);
    for (const file of files)
      expect(readFileSync(join(work, 'two', file))).toEqual(readFileSync(join(work, 'one', file)));
  });

  it('rounds to nearest without calibration', async () => {
    const out = join(work, 'rtn');
    const args = ['--device', 'cpu', '--group-size', '-1', '--bits', '8', '--asym', '--method', 'rtn'];
    const report = await quantize(tiny('llama'), out, args);
    expect(report.layers[0]).toMatchObject({ method: 'rtn', loss: null, damp: null, groups: 1 });
    const config = JSON.parse(readFileSync(join(out, 'quantize_config.json'), 'utf8')) as object;
    expect(config).toMatchObject({ bits: 8, group_size: -1, sym: false, checkpoint_format: 'gptq_v2' });
  });

  it('leaves unsupported linears in 16-bit when allowed, and tells loaders', async () => {
    const out = join(work, 'skipped');
    const args = [...COMMON, '--group-size', '64', '--skip-unsupported'];
    const report = await quantize(tiny('llama-linear'), out, args);
    expect(report.layers.map((layer) => layer.name)).toEqual([
      'model.layers.0.mlp.down_proj',
      'model.layers.1.mlp.down_proj',
    ]);
    expect(report.skipped).toHaveLength(12);
    expect(report.skipped[1]).toEqual({
      name: 'model.layers.0.self_attn.k_proj',
      reason: expect.stringContaining('in_features 32') as string,
    });
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as {
      quantization_config: { modules_in_block_to_quantize: string[][]; dynamic: Record<string, object> };
    };
    expect(config.quantization_config.modules_in_block_to_quantize).toEqual([['mlp.down_proj']]);
    expect(Object.keys(config.quantization_config.dynamic)).toContain(
      '-:^model\\.layers\\.0\\.mlp\\.up_proj$',
    );
  });
});

describe('the output folder', () => {
  it('is refused when it stands, and replaced with --overwrite', async () => {
    const out = join(work, 'again');
    mkdirSync(out);
    writeFileSync(join(out, 'config.json'), '{}');
    const args = ['--device', 'cpu', '--group-size', '32', '--method', 'rtn'];
    const refused = await runCli(['quantize', tiny('llama'), '--out', out, ...args]);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/again already exists\n.*--overwrite/);
    expect(entries(out)).toEqual(['config.json']);
    await quantize(tiny('llama'), out, [...args, '--overwrite']);
    expect(existsSync(join(out, 'halfbyte.json'))).toBe(true);
  });

  it('may not be the model itself, even with --overwrite', async () => {
    const model = copyModel(work, 'precious');
    const before = entries(model);
    const args = ['--out', model, '--overwrite', '--device', 'cpu', '--method', 'rtn', '--group-size', '32'];
    const result = await runCli(['quantize', model, ...args]);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/would destroy it/);
    expect(entries(model)).toEqual(before);
  });

  it('is not made from a model that is quantized already', async () => {
    const result = await runCli(['quantize', join(work, 'gptq'), '--out', join(work, 'twice'), ...COMMON]);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/quantized already \(gptq\)\n.*16-bit/);
    expect(existsSync(join(work, 'twice'))).toBe(false);
  });
});
