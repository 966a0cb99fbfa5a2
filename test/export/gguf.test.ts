// Plan: which grids and shapes each gguf format takes, with its fallbacks; types of every kind of tensor; tied heads and
// buffers stay out; what cannot be written is listed all at once; values beyond float16 are refused, lost digits counted;
// tables are quantized in panels; sizes are as planned.
import { describe, expect, it } from 'vitest';
import { f32ToBf16 } from '../../src/core/dtype.js';
import { UserError } from '../../src/core/errors.js';
import type { Grid } from '../../src/core/quantized-linear.js';
import { ggufFormat } from '../../src/export/formats/gguf.js';
import type { GgufFormatName } from '../../src/export/gguf/gguf-targets.js';
import { GGUF_TARGETS } from '../../src/export/gguf/gguf-targets.js';
import { readGgufHeader } from '../../src/formats/gguf/gguf-header.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { openFixture, toWrite, writeToMemory } from './gguf-model.js';

const FORMATS = Object.keys(GGUF_TARGETS) as GgufFormatName[];

const SYMMETRIC: Grid = {
  ...{ kind: 'affine', bits: 4, groupSize: 32, symmetric: true, signed: false, reordered: false },
  scaleDType: 'F16',
};
const shape = (inFeatures: number, name = 'model.layers.0.mlp.up_proj') => ({
  name,
  outFeatures: 64,
  inFeatures,
});

async function typesOf(source: ByteSource | undefined): Promise<Record<string, string>> {
  if (source === undefined) throw new Error('model.gguf expected');
  return Object.fromEntries((await readGgufHeader(source)).tensors.map(({ name, type }) => [name, type]));
}

describe('grids', () => {
  it('each format holds its own, whole super-blocks or not', () => {
    for (const name of FORMATS) {
      const format = ggufFormat(name);
      for (const inFeatures of [256, 288]) {
        const spec = format.nativeGrid?.(shape(inFeatures));
        if (spec === undefined) continue;
        const { rule, bits, groupSize } = spec;
        const grid: Grid =
          rule === 'q4_k' || rule === 'q6_k'
            ? { kind: 'k-quant', type: rule }
            : {
                ...SYMMETRIC,
                kind: rule === 'min' ? 'affine-min' : 'affine',
                bits,
                groupSize,
                symmetric: rule !== 'min',
              };
        expect(format.problems(grid, shape(inFeatures))).toEqual([]);
      }
    }
  });

  it('fallbacks are those of llama.cpp', () => {
    const spec = (name: GgufFormatName, k: number) => ggufFormat(name).nativeGrid?.(shape(k));
    expect(spec('gguf-q4_k', 512)).toEqual({ rule: 'q4_k', bits: 4, groupSize: 32 });
    expect(spec('gguf-q4_k', 320)).toEqual({ rule: 'signed', bits: 5, groupSize: 32 });
    expect(spec('gguf-q6_k', 320)).toEqual({ rule: 'signed', bits: 8, groupSize: 32 });
    expect(spec('gguf-q4_1', 320)).toEqual({ rule: 'min', bits: 4, groupSize: 32 });
    expect(spec('gguf-f16', 320)).toBeUndefined();
  });

  it.each<[string, GgufFormatName, Partial<Grid>, number, RegExp]>([
    ['asymmetric', 'gguf-q4_0', { symmetric: false }, 64, /not 4-bit asymmetric/],
    ['act-order', 'gguf-q4_0', { reordered: true }, 64, /without act-order groups/],
    ['wide scales', 'gguf-q4_0', { scaleDType: 'F32' }, 64, /float16 scales, these need F32/],
    ['half blocks', 'gguf-q4_0', { groupSize: 16 }, 64, /groups of 16 columns are not whole blocks of 32/],
    ['ragged rows', 'gguf-q4_0', { groupSize: 40 }, 40, /in_features 40 is not a multiple of 32/],
    ['three bits', 'gguf-q4_0', { bits: 3 }, 64, /not 3-bit symmetric/],
    ['another type', 'gguf-q8_0', {}, 64, /gguf-q8_0 holds Q8_0 blocks.*are Q4_0: use gguf-q4_0/],
    ['q4_0 as q4_k', 'gguf-q4_k', {}, 256, /use gguf-q4_0/],
    ['codes in f16', 'gguf-f16', {}, 64, /holds 16-bit weights/],
  ])('%s', (_, name, change, inFeatures, message) => {
    expect(
      ggufFormat(name)
        .problems({ ...SYMMETRIC, ...change } as Grid, shape(inFeatures))
        .join('\n'),
    ).toMatch(message);
  });

  it('codebooks are refused; wider groups of the same scale are not', () => {
    const nf4: Grid = { kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: false };
    expect(ggufFormat('gguf-q4_0').problems(nf4, shape(64)).join()).toMatch(/not nf4 in blocks of 64/);
    expect(ggufFormat('gguf-q4_0').problems({ ...SYMMETRIC, groupSize: 128 }, shape(256))).toEqual([]);
  });

  it('tables lie in any type, and q4_k files hold q6_k linears', () => {
    const q6k: Grid = { kind: 'k-quant', type: 'q6_k' };
    expect(ggufFormat('gguf-q4_0').problems(q6k, shape(256)).join()).toMatch(/use gguf-q6_k/);
    expect(ggufFormat('gguf-q4_0').problems(q6k, shape(256, 'model.embed_tokens'))).toEqual([]);
    expect(ggufFormat('gguf-q4_k').problems(q6k, shape(256))).toEqual([]);
  });
});

describe('tensor types', () => {
  it.each<[GgufFormatName, string, string]>([
    ['gguf-f16', 'F16', 'F16'],
    ['gguf-q8_0', 'Q8_0', 'Q8_0'],
    ['gguf-q4_0', 'Q6_K', 'Q4_0'],
    ['gguf-q4_k', 'Q6_K', 'Q4_K'],
  ])('%s of a tied model: table %s, linears %s', async (name, table, linears) => {
    const model = await openFixture('bundled');
    const { files, writer } = await writeToMemory(model, name);
    const types = await typesOf(files.get('model.gguf'));
    expect(types).toMatchObject({
      'token_embd.weight': table,
      'blk.1.ffn_down.weight': linears,
      'blk.0.attn_norm.weight': 'F32',
    });
    expect('output.weight' in types).toBe(false);
    expect(files.get('model.gguf')?.size).toBe(writer.expectedBytes);
  });

  it('an untied model has its embedding in the main type; biases and scaling factors are F32', async () => {
    const { files } = await writeToMemory(await openFixture('tiny/llama-untied-llama3'), 'gguf-q4_1');
    expect(await typesOf(files.get('model.gguf'))).toMatchObject({
      ...{ 'token_embd.weight': 'Q4_1', 'output.weight': 'Q8_0', 'rope_freqs.weight': 'F32' },
      ...{ 'blk.0.attn_q.bias': 'F32', 'blk.0.attn_q.weight': 'Q4_1' },
    });
  });

  it('fallbacks are named; linears left alone are F16 and count', async () => {
    const model = await openFixture('tiny/llama');
    const down = /down_proj/;
    const toBeWritten = toWrite(model, 'gguf-q4_k', { keepDense: (module) => down.test(module) });
    const { files, writer } = await writeToMemory(model, 'gguf-q4_k', toBeWritten);
    const types = await typesOf(files.get('model.gguf'));
    expect(types).toMatchObject({ 'blk.0.ffn_down.weight': 'F16', 'blk.0.ffn_up.weight': 'Q5_0' });
    expect(writer.notes.join('\n')).toMatch(/12 linears .*blocks of 256.*lie in Q5_0/);
    expect(writer.bitsPerWeight).toBeGreaterThan(5.5);
  });
});

describe('what is written', () => {
  /** Writes the embedding alone, of the given values. */
  const writeEmbedding = async (values: Uint16Array) => {
    const plan = await ggufFormat('gguf-f16').plan(toWrite(await openFixture('tiny/llama'), 'gguf-f16'));
    const writer = await plan.open(createMemoryFolder());
    const sink = await writer.dense('model.embed_tokens.weight');
    await sink.append(new Uint8Array(64 * 2));
    await sink.append(new Uint8Array(values.buffer));
  };

  it('refuses bfloat16 beyond float16, naming tensor and place', async () => {
    const values = Uint16Array.from({ length: 64 }, (_, i) => f32ToBf16(i === 7 ? 1e5 : 1));
    await expect(writeEmbedding(values)).rejects.toThrow(UserError);
    await expect(writeEmbedding(values)).rejects.toThrow(/"model\.embed_tokens\.weight": value 71 .* 65504/);
    await writeEmbedding(Uint16Array.from({ length: 64 }, () => f32ToBf16(65000)));
  });

  it('counts digits that float16 does not have', async () => {
    const model = await openFixture('tiny/llama');
    const { writer } = await writeToMemory(model, 'gguf-f16');
    expect(writer.notes.join('\n')).toMatch(/\d+ of \d+ bfloat16 weights lie below 8e-6/);
  });

  it('panels of tables are quantized as they come', async () => {
    const model = await openFixture('bundled');
    const panels: number[] = [];
    const toBeWritten = toWrite(model, 'gguf-q4_0');
    const { files } = await writeToMemory(model, 'gguf-q4_0', {
      ...toBeWritten,
      quantizeRows: (rows, grid) => {
        panels.push(rows.bytes.byteLength / 2 / rows.cols);
        return toBeWritten.quantizeRows(rows, grid);
      },
    });
    expect(panels).toEqual([2048]);
    expect(files.size).toBe(1);
  });

  it('a tied head and old buffers stay out; unknown tensors are listed with everything else', async () => {
    const model = toWrite(await openFixture('tiny/llama'), 'gguf-q8_0');
    const dense = (name: string, dtype: 'F32' | 'I64' = 'F32') => ({
      kind: 'dense' as const,
      tensor: { name, dtype, shape: [4, 64] },
    });
    const format = ggufFormat('gguf-q8_0');
    const more = [dense('lm_head.weight'), dense('model.layers.0.self_attn.rotary_emb.inv_freq')];
    const plain = await format.plan(model);
    const tied = { ...model, config: { ...model.config, tieWordEmbeddings: true } };
    const items = model.items.filter(
      (item) => item.kind === 'linear' || item.tensor.name !== 'lm_head.weight',
    );
    const withMore = await format.plan({ ...tied, items: [...items, ...more] });
    expect(withMore.expectedBytes).toBeLessThanOrEqual(plain.expectedBytes);
    const bad = [dense('model.vision.weight'), dense('model.layers.0.mlp.up_proj.bias', 'I64')];
    await expect(format.plan({ ...model, items: [...model.items, ...bad] })).rejects.toThrow(
      /"model\.vision\.weight": GGUF has no name[^]*I64 is no dtype of weights/,
    );
  });

  it('a format named after a type has linears of it', async () => {
    const model = await openFixture('bundled');
    const toBeWritten = toWrite(model, 'gguf-q6_k');
    await expect(ggufFormat('gguf-q4_k').plan(toBeWritten)).rejects.toThrow(
      /none of the 28 linears is in Q4_K blocks; all are Q6_K/,
    );
  });
});
