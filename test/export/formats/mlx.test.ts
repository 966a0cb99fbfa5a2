import { describe, expect, it } from 'vitest';
import type { Grid } from '../../../src/core/quantized-linear.js';
import { mlxFormat } from '../../../src/export/formats/mlx.js';
import type { ModelItem, ModelToWrite } from '../../../src/export/output-format.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { parseJson, readText } from '../../../src/io/json.js';
import { parseModelConfig } from '../../../src/model/index.js';
import { modelToWrite } from '../model-to-write.js';

const GRID: Extract<Grid, { kind: 'affine' | 'affine-min' }> = {
  kind: 'affine',
  bits: 4,
  groupSize: 64,
  symmetric: true,
  signed: false,
  reordered: false,
  scaleDType: 'F16',
};
const SHAPE = { outFeatures: 64, inFeatures: 128 };
const PATHS = ['a', 'b', 'c'].map((name) => `model.layers.0.${name}`);

/** config.json that the format writes; linears are handed over as nothing at all, they do not matter here. */
async function configOf(model: ModelToWrite): Promise<{ text: string; json: Record<string, unknown> }> {
  const folder = createMemoryFolder();
  const planned = await mlxFormat().plan({
    ...model,
    items: model.items.filter(({ kind }) => kind === 'dense'),
  });
  const writer = await planned.open(folder);
  for (const item of model.items) {
    if (item.kind === 'linear') continue;
    const sink = await writer.dense(item.tensor.name);
    await sink.append(new Uint8Array(item.tensor.shape.reduce((total, dim) => total * dim, 2)));
    await sink.end();
  }
  await writer.finish();
  await folder.commit();
  const file = folder.files.get('config.json');
  if (file === undefined) throw new Error('no config.json');
  const text = await readText(file);
  return { text, json: parseJson(text, 'config.json') as Record<string, unknown> };
}

describe('mlxFormat', () => {
  const problems = (grid: Grid, shape: typeof SHAPE): string[] => mlxFormat().problems(grid, shape);

  it('holds affine grids of its widths and groups', () => {
    for (const bits of [2, 3, 4, 5, 6, 8] as const) {
      for (const groupSize of [32, 64, 128])
        expect(problems({ ...GRID, bits, groupSize }, SHAPE)).toEqual([]);
    }
    expect(problems({ ...GRID, symmetric: false }, SHAPE)).toEqual([]);
    expect(problems({ ...GRID, kind: 'affine-min', symmetric: false, scaleDType: 'F32' }, SHAPE)).toEqual([]);
    expect(problems({ ...GRID, signed: true, scaleDType: 'BF16' }, SHAPE)).toEqual([]);
  });

  it.each<[Grid, string]>([
    [{ ...GRID, groupSize: 16 }, 'groups of 32, 64, 128'],
    [{ ...GRID, groupSize: 256 }, 'groups of 32, 64, 128'],
    [{ ...GRID, reordered: true }, 'act-order'],
    [{ ...GRID, symmetric: false, scaleDType: 'F32' }, 'float32 scales'],
    [{ kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: true }, 'bitsandbytes'],
    [{ kind: 'k-quant', type: 'q4_k' }, 'gguf'],
  ])('refuses %j', (grid, part) => {
    expect(problems(grid, SHAPE).join('; ')).toContain(part);
  });

  it('plans float32 biases where zero points are not the middle', async () => {
    const size = async (grid: Grid): Promise<number> =>
      (await mlxFormat().plan(modelToWrite({ linears: PATHS, grid }))).bitsPerWeight;
    expect(await size(GRID)).toBe(4 + 32 / 64);
    expect(await size({ ...GRID, symmetric: false })).toBe(4 + 64 / 64);
    expect(await size({ ...GRID, kind: 'affine-min', symmetric: false })).toBe(4 + 32 / 64);
  });

  it('names what stays dense', async () => {
    const model = modelToWrite({ linears: [], grid: GRID });
    const dense = (name: string, shape: readonly number[]): ModelItem => ({
      kind: 'dense',
      tensor: { name, dtype: 'BF16', shape },
    });
    const items = [dense('model.embed_tokens.weight', [32, 64]), dense('model.norm.weight', [64])];
    const { json, text } = await configOf({ ...model, items });
    const settings = { group_size: 64, bits: 4, mode: 'affine', 'model.embed_tokens': false };
    expect(json.quantization).toEqual(settings);
    expect(json.quantization_config).toEqual(settings);
    // The rest of the text is as it was: 1e-05 is no other number to us, but to strict readers.
    expect(text.startsWith(model.configText.slice(0, -1))).toBe(true);
  });

  it('spells out what mlx-lm would take for something else', async () => {
    const rope = { rope_type: 'yarn', factor: 4, rope_theta: 50000, original_max_position_embeddings: 8 };
    const model = modelToWrite({ linears: [], grid: GRID });
    const configJson = { ...model.configJson, rope_parameters: rope, num_key_value_heads: null };
    const config = parseModelConfig(configJson, 'config.json');
    const { json } = await configOf({ ...model, config, configJson, configText: JSON.stringify(configJson) });
    expect(json).toMatchObject({
      rope_theta: 50000,
      rope_scaling: rope,
      rope_parameters: rope,
      tie_word_embeddings: config.tieWordEmbeddings,
      num_key_value_heads: 4,
    });
    expect(parseModelConfig(json, 'config.json')).toEqual(config);
    const plain = await configOf(model);
    expect(plain.json).toMatchObject({ rope_theta: 10000, num_key_value_heads: 4 });
    expect(plain.json).not.toHaveProperty('rope_scaling');
  });

  it('tells of windows that mlx-lm does not know', async () => {
    const model = modelToWrite({ linears: PATHS, grid: GRID });
    const config = { ...model.config, modelType: 'mistral', slidingWindows: [11, undefined] };
    const { notes } = await mlxFormat().plan({ ...model, config });
    expect(notes.join()).toContain('no sliding window for mistral: beyond 11 tokens');
  });

  it('replaces settings that were there', async () => {
    const model = modelToWrite({ linears: [], grid: GRID });
    const configJson = { ...model.configJson, quantization: { bits: 3 } };
    const { json } = await configOf({ ...model, configJson, configText: JSON.stringify(configJson) });
    expect(json.quantization).toEqual({ group_size: 64, bits: 4, mode: 'affine' });
  });

  it('says that activations are computed in float32 where scales need another dtype', async () => {
    const model = modelToWrite({ linears: PATHS, grid: GRID });
    const notes = async (dtype: string): Promise<readonly string[]> =>
      (await mlxFormat().plan({ ...model, configJson: { ...model.configJson, dtype } })).notes;
    expect(await notes('float16')).toEqual([]);
    expect((await notes('bfloat16')).join()).toContain('float16');
  });
});
