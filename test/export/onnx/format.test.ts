/**
 * Plan: which grids and models are refused and with what words, what is left out of the graph, sizes told beforehand, the
 * settings files, and values that float16 cannot hold.
 */
import { describe, expect, it } from 'vitest';
import { NumericError, UserError } from '../../../src/core/errors.js';
import type { Grid } from '../../../src/core/quantized-linear.js';
import { onnxFormat } from '../../../src/export/formats/onnx.js';
import type { ModelItem, ModelToWrite } from '../../../src/export/output-format.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import type { FileTensor } from '../../helpers/checkpoint-source.js';
import type { FixtureModel } from './written-model.js';
import { readFixture, writeFixture } from './written-model.js';

const GRID: Extract<Grid, { kind: 'affine' | 'affine-min' }> = {
  kind: 'affine',
  bits: 4,
  groupSize: 32,
  symmetric: true,
  signed: false,
  reordered: false,
  scaleDType: 'F16',
};
const SHAPE = { outFeatures: 33, inFeatures: 256 };
const SPEC = { bits: 4, groupSize: 32, symmetric: true } as const;

/** tiny/llama with other tensors. */
function changed(change: (tensors: Map<string, FileTensor>) => void, configText?: string): FixtureModel {
  const fixture = readFixture('tiny/llama');
  change(fixture.tensors);
  return { ...fixture, ...(configText === undefined ? {} : { configText }) };
}

async function textOf(files: ReturnType<typeof createMemoryFolder>, name: string): Promise<string> {
  const source = files.files.get(name);
  return new TextDecoder().decode(await source?.read(0, source.size));
}

describe('grids of onnx-q4 and onnx-q4f16', () => {
  it.each<[string, Partial<typeof GRID>]>([
    ['asymmetric', { symmetric: false }],
    ['negative scales', { signed: true }],
    ['2 bits', { bits: 2 }],
    ['8 bits', { bits: 8 }],
    ['groups of several blocks', { groupSize: 96 }],
    ['one group per row', { groupSize: 256 }],
  ])('hold %s', (_, change) => {
    expect(onnxFormat('onnx-q4').problems({ ...GRID, ...change }, SHAPE)).toEqual([]);
    expect(onnxFormat('onnx-q4f16').problems({ ...GRID, ...change }, SHAPE)).toEqual([]);
  });

  it.each<[Grid, RegExp]>([
    [{ ...GRID, kind: 'affine-min' }, /mlx/],
    [{ kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: false }, /bitsandbytes/],
    [{ kind: 'k-quant', type: 'q4_k' }, /gguf/],
    [{ ...GRID, bits: 3 }, /2, 4, 8 bits, not 3.*gptq/],
    [{ ...GRID, groupSize: 24 }, /24.*gptq/],
    [{ ...GRID, reordered: true }, /act-order.*static groups/],
  ])('refuse %o', (grid, words) => {
    const problems = onnxFormat('onnx-q4').problems(grid, SHAPE);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(words);
  });

  it('tell every reason', () => {
    const grid: Grid = { ...GRID, bits: 6, groupSize: 20, reordered: true, scaleDType: 'BF16' };
    expect(onnxFormat('onnx-q4f16').problems(grid, { outFeatures: 8, inFeatures: 100 })).toHaveLength(5);
    expect(onnxFormat('onnx-q4').problems({ ...GRID, scaleDType: 'F32' }, SHAPE)).toEqual([]);
    expect(onnxFormat('onnx-q4f16').problems({ ...GRID, scaleDType: 'F32' }, SHAPE)).toHaveLength(1);
  });
});

describe('models of the onnx formats', () => {
  it('are refused, all reasons told, where parts are missing or heads do not fit', async () => {
    const config = JSON.parse(readFixture('tiny/llama').configText) as Record<string, unknown>;
    const fixture = changed(
      (tensors) => tensors.delete('model.norm.weight'),
      JSON.stringify({ ...config, head_dim: 12 }),
    );
    const writing = writeFixture(onnxFormat('onnx-q4'), createMemoryFolder(), fixture, SPEC);
    await expect(writing).rejects.toThrow(UserError);
    await expect(writing).rejects.toThrow(/heads of 12 values.*lacks model\.norm/s);
  });

  it('leave out what the decoder does not read, and say so', async () => {
    const fixture = changed((tensors) => {
      const [norm] = [...tensors]
        .filter(([name]) => name === 'model.norm.weight')
        .map(([, tensor]) => tensor);
      tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', norm);
      tensors.set('model.layers.1.self_attn.q_proj.bias', norm);
    });
    const format = onnxFormat('onnx-q4');
    const folder = createMemoryFolder();
    const { model } = await writeFixture(format, folder, fixture, SPEC);
    const plain = createMemoryFolder();
    await writeFixture(format, plain, readFixture('tiny/llama'), SPEC);
    const bytes = (files: typeof folder): Promise<string> => textOf(files, 'onnx/model_q4.onnx');
    expect(await bytes(folder)).toBe(await bytes(plain));
    const { notes } = await format.plan(model);
    expect(notes.join()).toMatch(/inv_freq.*q_proj\.bias/);
    expect(notes.join()).toMatch(/bfloat16/);
  });

  it('know their size and bits beforehand', async () => {
    for (const name of ['onnx-q4', 'onnx-q4f16'] as const) {
      const folder = createMemoryFolder();
      const { model } = await writeFixture(onnxFormat(name), folder, readFixture('tiny/qwen3'), SPEC);
      const { expectedBytes, bitsPerWeight } = await onnxFormat(name).plan(model);
      const sizes = [...folder.files]
        .filter(([file]) => file.startsWith('onnx/'))
        .map(([, { size }]) => size);
      expect(sizes.reduce((a, b) => a + b)).toBe(expectedBytes);
      // Codes, and a scale of 32 or 16 bits for 32 weights.
      expect(bitsPerWeight).toBe(name === 'onnx-q4' ? 5 : 4.5);
    }
  });

  it('refuse a quantized module that no decoder has', async () => {
    const folder = createMemoryFolder();
    const { model } = await writeFixture(onnxFormat('onnx-q4'), folder, readFixture('tiny/llama'), SPEC);
    const stray: ModelItem = {
      kind: 'linear',
      linear: { name: 'vision.proj', ...SHAPE, grid: GRID, sourceDType: 'F32' },
    };
    const strange: ModelToWrite = { ...model, items: [...model.items, stray] };
    await expect(onnxFormat('onnx-q4').plan(strange)).rejects.toThrow(/vision\.proj/);
  });

  it('stop at weights beyond float16, saying where', async () => {
    const fixture = changed((tensors) => {
      const embedding = tensors.get('model.embed_tokens.weight');
      if (embedding === undefined) throw new Error('no embedding');
      const bytes = embedding.bytes.slice();
      // bfloat16 2^17 at element 5000.
      bytes.set([0x00, 0x48], 10_000);
      tensors.set('model.embed_tokens.weight', { ...embedding, bytes });
    });
    const writing = writeFixture(onnxFormat('onnx-q4'), createMemoryFolder(), fixture, SPEC);
    await expect(writing).rejects.toThrow(NumericError);
    await expect(writing).rejects.toThrow(/embed_tokens.*5000/);
  });

  it('write the settings of transformers.js and onnxruntime-genai', async () => {
    const folder = createMemoryFolder();
    await writeFixture(onnxFormat('onnx-q4f16'), folder, readFixture('bundled'), SPEC);
    const text = await textOf(folder, 'config.json');
    const original = readFixture('bundled').configText;
    // The original text is kept, floats and all.
    expect(text.startsWith(original.slice(0, original.lastIndexOf('}')).trimEnd())).toBe(true);
    expect((JSON.parse(text) as Record<string, unknown>)['transformers.js_config']).toEqual({
      dtype: 'q4f16',
      use_external_data_format: { 'model_q4f16.onnx': 1 },
      kv_cache_dtype: { q4f16: 'float16', fp16: 'float16' },
    });
    expect(JSON.parse(await textOf(folder, 'genai_config.json'))).toMatchObject({
      model: {
        type: 'llama',
        bos_token_id: 0,
        eos_token_id: 1,
        pad_token_id: 2,
        vocab_size: 2048,
        context_length: 512,
        decoder: { filename: 'onnx/model_q4f16.onnx', head_size: 32, num_key_value_heads: 4 },
      },
    });
  });
});
