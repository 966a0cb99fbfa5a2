// Plan: what is written comes back: dense tensors bit for bit in their new dtype, codes code for code, for every
// architecture (permuted rows, biases, tied and untied heads), split or not; a file written again from what was read is
// the same file; side files win; parts that do not fit together and tensors of foreign types are refused by name.
import { describe, expect, it } from 'vitest';
import { castElements, isCastSource } from '../../../src/core/cast-elements.js';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import { gridOf } from '../../../src/core/describe-grid.js';
import { FormatError, UserError } from '../../../src/core/errors.js';
import type { GgufFormatName } from '../../../src/export/gguf/gguf-targets.js';
import { planItems } from '../../../src/export/model-items.js';
import type { ModelToWrite, PlannedLinear } from '../../../src/export/output-format.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import { concatBytes } from '../../../src/io/byte-views.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { createMemorySource, createTextSource } from '../../../src/io/memory-source.js';
import { parseModelConfig } from '../../../src/model/index.js';
import { openGguf } from '../../../src/pipeline/readers/gguf-reader.js';
import type { ModelOnDisk } from '../../export/gguf-model.js';
import { openFixture, readQuantized, toWrite, writeModel, writeToMemory } from '../../export/gguf-model.js';

const TINY = ['llama', 'llama-linear', 'llama-untied-llama3', 'llama-yarn', 'mistral', 'qwen2', 'qwen3'];
const QUANTIZED: GgufFormatName[] = [
  'gguf-q4_0',
  'gguf-q4_1',
  'gguf-q5_0',
  'gguf-q8_0',
  'gguf-q4_k',
  'gguf-q6_k',
];

async function open(files: ReadonlyMap<string, ByteSource>) {
  const model = await openGguf(files);
  if (model === undefined) throw new Error('a model expected');
  return model;
}

/** Every dense tensor of `actual` is the one of `expected`, cast. */
async function expectDense(
  actual: ModelOnDisk['checkpoint'],
  expected: ModelOnDisk['checkpoint'],
): Promise<void> {
  for (const { name, dtype, shape } of actual.tensors.values()) {
    if (dtype === 'U8') continue;
    const original = expected.info(name);
    expect([name, ...shape]).toEqual([name, ...original.shape]);
    if (!isCastSource(original.dtype) || (dtype !== 'F16' && dtype !== 'F32')) throw new Error(dtype);
    const cast = castElements(await expected.read(name), original.dtype, dtype);
    expect(Buffer.compare(await actual.read(name), cast), name).toBe(0);
  }
}

describe('gguf-f16', () => {
  it.each(TINY)('%s comes back tensor by tensor', async (name) => {
    const model = await openFixture(`tiny/${name}`);
    const { files } = await writeToMemory(model, 'gguf-f16');
    const { checkpoint, quantized, configJson } = await open(files);
    expect(quantized).toBeUndefined();
    const tied = parseModelConfig(model.configJson).tieWordEmbeddings;
    const names = [...model.checkpoint.tensors.keys()].filter(
      (tensor) => !tied || tensor !== 'lm_head.weight',
    );
    expect([...checkpoint.tensors.keys()].sort()).toEqual(names.sort());
    await expectDense(checkpoint, model.checkpoint);
    const { modelType, slidingWindows, ...config } = parseModelConfig(configJson);
    const original = parseModelConfig(model.configJson);
    expect(modelType).toBe(original.modelType === 'mistral' ? 'llama' : original.modelType);
    expect(slidingWindows).toHaveLength(original.slidingWindows.length);
    expect(config.headDim).toBe(original.headDim);
    expect(config.numKeyValueHeads).toBe(original.numKeyValueHeads);
  });

  it('streams and reads ranges of permuted rows', async () => {
    const model = await openFixture('tiny/llama-untied-llama3');
    const { files } = await writeToMemory(model, 'gguf-f16');
    const { checkpoint } = await open(files);
    for (const name of ['model.layers.0.self_attn.q_proj.weight', 'model.layers.1.self_attn.k_proj.bias']) {
      const whole = await checkpoint.read(name);
      for (const windowBytes of [2, 34, 1000, 1 << 20]) {
        const chunks: Uint8Array[] = [];
        for await (const chunk of checkpoint.stream(name, { windowBytes })) {
          expect(chunk.byteLength).toBeLessThanOrEqual(windowBytes);
          chunks.push(chunk);
        }
        expect(Buffer.compare(concatBytes(chunks), whole)).toBe(0);
      }
      const part = await checkpoint.readRange(name, { offset: 6, length: 22 });
      expect([...part]).toEqual([...whole.subarray(6, 28)]);
      await expect(checkpoint.readRange(name, { offset: 0, length: 1e6 })).rejects.toThrow(FormatError);
    }
    await expect(checkpoint.read('model.none')).rejects.toThrow(/model\.none.*missing/);
  });
});

/** What a conversion hands to a writer: everything as it was read out of the file alone. */
function rewritten(model: Awaited<ReturnType<typeof open>>, like: ModelToWrite): ModelToWrite {
  const { checkpoint, quantized } = model;
  if (quantized === undefined) throw new Error('codes expected');
  const linears: PlannedLinear[] = [];
  for (const name of quantized.modules) {
    const [outFeatures, inFeatures] = quantized.shape(name);
    const grid = quantized.grid?.(name);
    if (grid === undefined) throw new Error('a grid expected');
    linears.push({ name, outFeatures, inFeatures, grid, sourceDType: 'F16' });
  }
  const order = like.items.map((item) => (item.kind === 'linear' ? item.linear.name : item.tensor.name));
  const rank = (name: string): number => Math.max(order.indexOf(name), order.indexOf(`${name}.weight`));
  const dense = [...checkpoint.tensors.values()].filter(({ name }) => !quantized.packing.has(name));
  const items = [...planItems(dense, linears)].sort(
    (a, b) =>
      rank(a.kind === 'linear' ? a.linear.name : a.tensor.name) -
      rank(b.kind === 'linear' ? b.linear.name : b.tensor.name),
  );
  const { configJson, tokenizer, generation, name } = model;
  const sideFiles = new Map(
    Object.entries({
      'tokenizer.json': tokenizer?.tokenizer,
      'tokenizer_config.json': tokenizer?.config,
      'generation_config.json': generation,
    }).map(([file, json]) => [file, createTextSource(file, JSON.stringify(json ?? {}))]),
  );
  return { ...like, items, sideFiles, configJson, config: parseModelConfig(configJson), name: name ?? '' };
}

describe('block types', () => {
  it.each([
    ...QUANTIZED.map((format) => ['bundled', format] as const),
    ...TINY.map((name) => [`tiny/${name}`, 'gguf-q4_k'] as const),
  ])('%s as %s: the same codes, and the same file when written again', async (name, format) => {
    const model = await openFixture(name);
    const toBeWritten = toWrite(model, format);
    const { files } = await writeToMemory(model, format, toBeWritten);
    const read = await open(files);
    await expectDense(read.checkpoint, model.checkpoint);
    const quantized = read.quantized;
    if (quantized === undefined) throw new Error('codes expected');
    for (const item of toBeWritten.items) {
      if (item.kind !== 'linear') continue;
      const record = await quantized.read(item.linear.name);
      const grid = gridOf(record);
      const promised = quantized.grid?.(item.linear.name);
      expect(grid.kind).toBe(promised?.kind);
      const expected = await readQuantized(model, item.linear.name, format);
      expect(
        Buffer.compare(
          Buffer.from(dequantizeLinear(record).buffer),
          Buffer.from(dequantizeLinear(expected).buffer),
        ),
      ).toBe(0);
    }
    const folder = createMemoryFolder();
    const readModel = {
      checkpoint: read.checkpoint,
      sideFiles: model.sideFiles,
      configJson: model.configJson,
    };
    await writeModel(readModel, format, rewritten(read, toBeWritten), folder, (module) =>
      quantized.read(module),
    );
    await folder.commit();
    expect([...folder.files.keys()]).toEqual([...files.keys()]);
    for (const [file, source] of files) {
      const again = folder.files.get(file);
      expect(
        Buffer.compare(
          await source.read(0, source.size),
          (await again?.read(0, again.size)) ?? new Uint8Array(),
        ),
      ).toBe(0);
    }
  });

  it('tells bits and sizes from headers', async () => {
    const model = await openFixture('bundled');
    const { quantized } = await open((await writeToMemory(model, 'gguf-q4_0')).files);
    expect(quantized).toMatchObject({ format: 'gguf', bits: 4, groupSize: 32, symmetric: true });
    expect(quantized?.storedBits('model.layers.0.mlp.up_proj')).toBe(4.5);
    expect(quantized?.storedBits('model.embed_tokens')).toBe(6.5625);
    expect(quantized?.shape('model.embed_tokens')).toEqual(
      model.checkpoint.info('model.embed_tokens.weight').shape,
    );
  });
});

describe('split files', () => {
  const split = async () => {
    const model = await openFixture('tiny/qwen3');
    const toBeWritten = toWrite(model, 'gguf-q8_0', { maxShardBytes: 9000 });
    return { model, files: new Map((await writeToMemory(model, 'gguf-q8_0', toBeWritten)).files) };
  };

  it('are one model', async () => {
    const { model, files } = await split();
    expect(files.size).toBeGreaterThan(2);
    expect(files.has(`model-00001-of-0000${files.size}.gguf`)).toBe(true);
    const { checkpoint, quantized } = await open(files);
    await expectDense(checkpoint, model.checkpoint);
    expect(quantized?.modules.size).toBe(16);
  });

  it('need every part, each under its name', async () => {
    const { files } = await split();
    const [first, second, third] = [...files.keys()];
    const part = (name: string): ByteSource => files.get(name) ?? createTextSource(name, '');
    const without = new Map(files);
    without.delete(second);
    await expect(open(without)).rejects.toThrow(new RegExp(`parts are missing:\\n.*${second}`));
    const swapped = new Map([...files, [second, part(third)], [third, part(second)]]);
    await expect(open(swapped)).rejects.toThrow(/says it is part 3 of \d, its name part 2/);
    await expect(open(new Map([['model.gguf', part(first)]]))).rejects.toThrow(/says it is part 1 of/);
  });
});

describe('what stands beside the file', () => {
  it('wins: config.json', async () => {
    const model = await openFixture('tiny/mistral');
    const { files } = await writeToMemory(model, 'gguf-q8_0');
    const config = JSON.stringify({ ...model.configJson, quantization_config: { quant_method: 'gptq' } });
    const { configJson } = await open(
      new Map([...files, ['config.json', createTextSource('config.json', config)]]),
    );
    expect(configJson).toEqual(model.configJson);
  });

  it('must be of the same model', async () => {
    const { files } = await writeToMemory(await openFixture('tiny/qwen3'), 'gguf-f16');
    const config = createTextSource('config.json', '{"model_type": "llama"}');
    await expect(open(new Map([...files, ['config.json', config]]))).rejects.toThrow(
      /"qwen3", but config.json.*"llama"/,
    );
  });

  it('several models are a choice', async () => {
    const { files } = await writeToMemory(await openFixture('tiny/llama'), 'gguf-f16');
    const source = files.get('model.gguf') ?? createTextSource('x', '');
    await expect(open(new Map([['a.gguf', source], ['b.gguf', source]]))).rejects.toThrow(/several GGUF models/); // prettier-ignore
    expect(await open(new Map([['mmproj-x.gguf', source], ['b.gguf', source]]))).toBeDefined(); // prettier-ignore
    expect(await openGguf(new Map([['x.txt', source]]))).toBeUndefined();
  });
});

describe('refusals', () => {
  /** The file with the first occurrence of `from` (behind a name) replaced. */
  const patched = async (patch: (bytes: Buffer) => void): Promise<ReadonlyMap<string, ByteSource>> => {
    const { files } = await writeToMemory(await openFixture('tiny/llama'), 'gguf-q4_0');
    const source = files.get('model.gguf');
    if (source === undefined) throw new Error('model.gguf expected');
    const bytes = Buffer.from(await source.read(0, source.size));
    patch(bytes);
    return new Map([['model.gguf', createMemorySource('model.gguf', bytes)]]);
  };
  const typeOf = (bytes: Buffer, name: string): number => bytes.indexOf(name) + name.length + 4 + 16;

  it('foreign block types, by type and tensor', async () => {
    const files = await patched((bytes) => {
      bytes.writeUInt32LE(23, typeOf(bytes, 'blk.0.attn_q.weight'));
      bytes.writeUInt32LE(39, typeOf(bytes, 'blk.1.ffn_up.weight'));
    });
    await expect(open(files)).rejects.toThrow(UserError);
    await expect(open(files)).rejects.toThrow(
      /"blk\.0\.attn_q\.weight": IQ4_XS\n.*"blk\.1\.ffn_up\.weight": MXFP4/,
    );
  });

  it('tensors of other decoders', async () => {
    const files = await patched((bytes) => bytes.write('blk.0.ffn_xp', bytes.indexOf('blk.0.ffn_up')));
    await expect(open(files)).rejects.toThrow(/"blk\.0\.ffn_xp\.weight": no part of a "llama" decoder/);
  });

  it('other architectures', async () => {
    const files = await patched((bytes) => bytes.write('gemma', bytes.indexOf('llama')));
    await expect(open(files)).rejects.toThrow(/general\.architecture is "gemma"/);
  });
});
