/**
 * Plan: what the format writes comes back (codes, scales, zero points, dense values, config.json), and written again gives
 * the same bytes; graphs named as other exporters name them; and a corpus of flipped and cut files, each of which must
 * read as before, or fail by an error that says where, having read no more than the files hold.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { HalfbyteError, FormatError, UserError } from '../../../src/core/errors.js';
import type { AffineLinear } from '../../../src/core/quantized-linear.js';
import { createRng } from '../../../src/core/rng.js';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import { onnxFormat } from '../../../src/export/formats/onnx.js';
import { encodeOnnxModel, MICROSOFT_DOMAIN } from '../../../src/formats/onnx/onnx-model.js';
import type { OnnxModel, OnnxNode, OnnxTensor } from '../../../src/formats/onnx/onnx-model.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { createMemorySource, createTextSource } from '../../../src/io/memory-source.js';
import { openOnnxModel } from '../../../src/pipeline/readers/onnx-reader.js';
import type { ForeignModel, QuantizedReader } from '../../../src/pipeline/quantized-reader.js';
import type { WrittenModel } from '../../export/onnx/written-model.js';
import { readFixture, writeFixture, writeModel } from '../../export/onnx/written-model.js';

type Files = ReadonlyMap<string, ByteSource>;

async function open(files: Files): Promise<ForeignModel & { readonly quantized: QuantizedReader }> {
  const found = await openOnnxModel(files);
  if (found?.quantized === undefined) throw new Error('no quantized ONNX model found');
  return { ...found, quantized: found.quantized };
}

/** Every byte of every file. */
async function contents(files: Files): Promise<Record<string, Uint8Array>> {
  const all = await Promise.all(
    [...files].map(async ([name, source]) => [name, await source.read(0, source.size)] as const),
  );
  return Object.fromEntries(all);
}

interface Written {
  readonly files: Files;
  readonly written: WrittenModel;
}

async function write(fixture: string, symmetric: boolean, maxShardBytes?: number): Promise<Written> {
  const folder = createMemoryFolder();
  const written = await writeFixture(onnxFormat('onnx-q4'), folder, readFixture(fixture), {
    bits: 4,
    groupSize: 16,
    symmetric,
    ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
  });
  return { files: folder.files, written };
}

describe.each([
  ['tiny/llama', true, undefined],
  ['tiny/qwen3', false, undefined],
  ['tiny/llama-untied-llama3', false, 9000],
])('the ONNX folder of %s', (fixture, symmetric, maxShardBytes) => {
  let files: Files;
  let written: WrittenModel;
  let model: ForeignModel & { readonly quantized: QuantizedReader };

  beforeAll(async () => {
    ({ files, written } = await write(fixture, symmetric, maxShardBytes));
    model = await open(files);
  });

  it('gives the records back', async () => {
    const { quantized } = model;
    expect([...quantized.modules].sort()).toEqual([...written.records.keys()].sort());
    expect(quantized).toMatchObject({
      format: 'onnx',
      bits: 4,
      groupSize: 16,
      symmetric: symmetric ? true : null,
    });
    for (const [name, record] of written.records) {
      expect(quantized.shape(name)).toEqual([record.outFeatures, record.inFeatures]);
      expect(quantized.storedBits(name)).toBeGreaterThan(4);
      expect(await quantized.read(name)).toEqual(record);
    }
  });

  it('gives dense tensors and config.json back', async () => {
    expect(model.configJson).toEqual(written.model.configJson);
    // Word for word: 10000.0 stays 10000.0.
    expect(model.configText?.trimEnd()).toBe(written.model.configText.trimEnd());
    const dense = written.model.items.flatMap((item) => (item.kind === 'dense' ? [item.tensor] : []));
    expect([...model.checkpoint.tensors.keys()].sort()).toEqual(dense.map(({ name }) => name).sort());
    for (const { name, shape } of dense) expect(model.checkpoint.info(name).shape).toEqual(shape);
    const whole = await model.checkpoint.read('model.embed_tokens.weight');
    const chunks = [];
    for await (const chunk of model.checkpoint.stream('model.embed_tokens.weight', { windowBytes: 1000 }))
      chunks.push(...chunk);
    expect(Uint8Array.from(chunks)).toEqual(whole);
    await expect(model.checkpoint.readRange('model.norm.weight', { offset: 4, length: 1e6 })).rejects.toThrow(
      FormatError,
    );
    expect(() => model.checkpoint.info('model.nothing')).toThrow(FormatError);
  });

  it('written again has the same bytes', async () => {
    const records = new Map<string, AffineLinear>();
    for (const name of model.quantized.modules) {
      const record = await model.quantized.read(name);
      if (record.kind !== 'affine') throw new Error(`${name} is ${record.kind}`);
      records.set(name, record);
    }
    const tensors = new Map<string, { dtype: string; shape: readonly number[]; bytes: Uint8Array }>();
    for (const [name, { dtype, shape }] of model.checkpoint.tensors)
      tensors.set(name, { dtype, shape, bytes: await model.checkpoint.read(name) });
    const items = written.model.items.map((item) => {
      if (item.kind === 'linear') return item;
      return { ...item, tensor: { ...item.tensor, dtype: model.checkpoint.info(item.tensor.name).dtype } };
    });
    const folder = createMemoryFolder();
    await writeModel(onnxFormat('onnx-q4'), folder, { ...written.model, items }, { records, tensors });
    expect(await contents(folder.files)).toEqual(await contents(files));
  });

  it('says how many files there are', async () => {
    const chunks = [...files.keys()].filter((name) => name.includes('onnx_data'));
    const config = JSON.parse(new TextDecoder().decode((await contents(files))['config.json'])) as Record<
      string,
      unknown
    >;
    expect(config['transformers.js_config']).toMatchObject({
      use_external_data_format: { 'model_q4.onnx': chunks.length },
    });
    if (maxShardBytes !== undefined) expect(chunks.length).toBeGreaterThan(2);
  });
});

/** A graph with one linear [3, 32] in 4 bits, stored inside the file, with names as given. */
function tinyGraph(
  names: { readonly node: string; readonly weight: string },
  change: Partial<OnnxNode> = {},
): OnnxModel {
  const inline = (name: string, type: OnnxTensor['type'], dims: number[], bytes: Uint8Array): OnnxTensor => ({
    name,
    type,
    dims,
    data: { kind: 'inline', bytes },
  });
  const scales = new Uint8Array(Float32Array.of(1, 2, -3).buffer);
  const node: OnnxNode = {
    name: names.node,
    opType: 'MatMulNBits',
    domain: MICROSOFT_DOMAIN,
    inputs: ['x', names.weight, 'scales'],
    outputs: ['y'],
    attributes: { K: { int: 32 }, N: { int: 3 }, bits: { int: 4 }, block_size: { int: 32 } },
    ...change,
  };
  const initializers = [
    inline(
      names.weight,
      'U8',
      [3, 1, 16],
      Uint8Array.from({ length: 48 }, (_, i) => i * 5),
    ),
    inline('scales', 'F32', [3], scales),
    inline('model.layers.7.final_norm_layernorm.weight', 'F32', [1], scales.slice(0, 4)),
    inline('model.layers.0.attn.q_proj.Add.bias', 'F32', [3], scales),
  ];
  const graph = { name: 'g', nodes: [node], initializers, inputs: [], outputs: [] };
  return { producer: 'other', producerVersion: '1', metadata: { a: 'b' }, graph };
}

const folderOf = (model: OnnxModel): Files =>
  new Map([
    ['onnx/model_q4.onnx', createMemorySource('onnx/model_q4.onnx', encodeOnnxModel(model))],
    ['config.json', createTextSource('config.json', '{"model_type":"llama"}')],
  ]);

describe('graphs of other exporters', () => {
  const q = 'model.layers.0.self_attn.q_proj';

  it.each([
    ['/model/layers.0/attn/q_proj/MatMul_Q4', 'onnx::MatMul_123_Q4'],
    ['/model/layers.0/self_attn/q_proj/MatMul_Q4', 'onnx::MatMul_9_Q4'],
    ['', 'model.layers.0.attn.q_proj.MatMul.weight_Q4'],
  ])('node "%s" with weight "%s" is q_proj', async (node, weight) => {
    const { quantized, checkpoint } = await open(folderOf(tinyGraph({ node, weight })));
    expect([...quantized.modules]).toEqual([q]);
    const record = await quantized.read(q);
    const values = dequantizeLinear(record);
    // Row 1, columns 0 and 1: byte 80 holds codes 0 and 5 of scale 2.
    expect([values[32], values[33]]).toEqual([2 * (0 - 8), 2 * (5 - 8)]);
    expect([...checkpoint.tensors.keys()].sort()).toEqual([`${q}.bias`, 'model.norm.weight'].sort());
  });

  it.each<[string, Partial<OnnxNode>]>([
    ['a block of 24', { attributes: { K: { int: 32 }, N: { int: 3 }, block_size: { int: 24 } } }],
    [
      'three bits',
      { attributes: { K: { int: 32 }, N: { int: 3 }, bits: { int: 3 }, block_size: { int: 32 } } },
    ],
    ['rows that are not there', { attributes: { K: { int: 32 }, N: { int: 30 }, block_size: { int: 32 } } }],
    ['no attributes', { attributes: {} }],
    ['a group index', { inputs: ['x', 'w_Q4', 'scales', '', 'g'] }],
    ['zero points from elsewhere', { inputs: ['x', 'w_Q4', 'scales', 'z'] }],
    ['scales from elsewhere', { inputs: ['x', 'w_Q4', 's'] }],
  ])('refuses %s', async (_, change) => {
    const names = { node: '/model/layers.0/mlp/up_proj/MatMulNBits', weight: 'w_Q4' };
    await expect(open(folderOf(tinyGraph(names, change)))).rejects.toThrow(FormatError);
  });

  it('refuses weights whose place it cannot tell, and a choice', async () => {
    const packed = tinyGraph({ node: '/model/layers.0/attn/qkv_proj/MatMulNBits', weight: 'w_Q4' });
    await expect(open(folderOf(packed))).rejects.toThrow(UserError);
    const files = new Map([...folderOf(packed)].map(([name, source]) => [name.replace('_q4', '_a'), source]));
    files.set('onnx/model_b.onnx', createMemorySource('b', new Uint8Array(0)));
    await expect(openOnnxModel(files)).rejects.toThrow(/several/);
    expect(await openOnnxModel(new Map())).toBeUndefined();
    files.delete('onnx/model_b.onnx');
    files.delete('config.json');
    await expect(openOnnxModel(files)).rejects.toThrow(/config\.json/);
  });
});

describe('damaged ONNX folders', () => {
  /** Reads everything there is to read; resolves to the number of bytes asked for. */
  async function readAll(originals: Readonly<Record<string, Uint8Array>>): Promise<number> {
    let asked = 0;
    const files = new Map(
      Object.entries(originals).map(([name, bytes]) => {
        const source = createMemorySource(name, bytes);
        const counted: ByteSource = {
          ...source,
          read: (offset, length) => {
            asked += length;
            return source.read(offset, length);
          },
        };
        return [name, counted] as const;
      }),
    );
    try {
      const model = await openOnnxModel(files);
      for (const name of model?.quantized?.modules ?? []) await model?.quantized?.read(name);
      for (const name of model?.checkpoint.tensors.keys() ?? []) await model?.checkpoint.read(name);
    } catch (error) {
      if (!(error instanceof HalfbyteError) || error.message.startsWith('internal')) throw error;
    }
    return asked;
  }

  it('never crash and never read more than there is', async () => {
    const originals = await contents((await write('tiny/qwen2', false)).files);
    const total = Object.values(originals).reduce((sum, bytes) => sum + bytes.byteLength, 0);
    const rng = createRng(20);
    const name = 'onnx/model_q4.onnx';
    for (let round = 0; round < 250; round++) {
      const damaged = originals[name].slice(0, round % 3 === 0 ? rng.int(originals[name].length) : undefined);
      for (let flips = round % 4; flips > 0 && damaged.length > 0; flips--)
        damaged[rng.int(damaged.length)] ^= 1 << rng.int(8);
      const cut = round % 5 === 0 ? rng.int(originals[`${name}_data`].length) : undefined;
      const files = {
        ...originals,
        [name]: damaged,
        [`${name}_data`]: originals[`${name}_data`].slice(0, cut),
      };
      expect(await readAll(files), `round ${round}`).toBeLessThan(12 * total);
    }
  });

  it('name the file that is cut short', async () => {
    const { files } = await write('tiny/llama', true);
    const data = 'onnx/model_q4.onnx_data';
    const cut = new Map(files);
    const bytes = (await contents(files))[data];
    cut.set(data, createMemorySource(data, bytes.subarray(0, bytes.length - 1)));
    await expect(openOnnxModel(cut)).rejects.toThrow(/model\.norm\.weight.*onnx_data/s);
    cut.delete(data);
    await expect(openOnnxModel(cut)).rejects.toThrow(/missing/);
  });

  it('say so when a scale is not finite', async () => {
    const { files, written } = await write('tiny/llama', true);
    const model = await open(files);
    const [module] = written.records.keys();
    const everything = await contents(files);
    const data = everything['onnx/model_q4.onnx_data'];
    const scales = new Uint8Array(((await model.quantized.read(module)) as AffineLinear).scales.buffer);
    const at = Buffer.from(data).indexOf(Buffer.from(scales));
    expect(at).toBeGreaterThan(0);
    data.set([0, 0, 0xc0, 0x7f], at);
    const damaged = new Map(files).set(
      'onnx/model_q4.onnx_data',
      createMemorySource('onnx/model_q4.onnx_data', data),
    );
    await expect((await open(damaged)).quantized.read(module)).rejects.toThrow(/finite/);
  });
});
