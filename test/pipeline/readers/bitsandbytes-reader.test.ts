import { describe, expect, it } from 'vitest';
import { gridOf } from '../../../src/core/describe-grid.js';
import { FormatError, UserError } from '../../../src/core/errors.js';
import { createRng } from '../../../src/core/rng.js';
import type { CodebookLinear } from '../../../src/core/quantized-linear.js';
import type { ModelToWrite } from '../../../src/export/output-format.js';
import { bitsandbytesFormat } from '../../../src/export/formats/bitsandbytes.js';
import { createCpuEngine } from '../../../src/cpu/engine.js';
import { openCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import { readJsonObject } from '../../../src/io/json.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { createMemorySource } from '../../../src/io/memory-source.js';
import type { QuantizedReader } from '../../../src/pipeline/quantized-reader.js';
import { openBitsandbytesReader } from '../../../src/pipeline/readers/bitsandbytes-reader.js';
import { quantizeCodebookLinear } from '../../../src/quant/codebook.js';
import { modelToWrite } from '../../export/model-to-write.js';

// Plan: what the format writes the reader gives back, with and without double quantization, in one shard and in several;
// and whatever is flipped or cut in such a folder is a FormatError or a sound record.

type Folder = ReadonlyMap<string, ByteSource>;
const NAMES = ['model.layers.0.self_attn.q_proj', 'model.layers.0.mlp.up_proj', 'model.layers.1.mlp.up_proj'];

async function makeRecords(doubleQuant: boolean): Promise<Map<string, CodebookLinear>> {
  const engine = createCpuEngine({ precision: 'f32' });
  const records = new Map<string, CodebookLinear>();
  for (const [i, name] of NAMES.entries()) {
    const rng = createRng(i);
    const [outFeatures, inFeatures] = [64, 64 + 8 * i];
    const weight = Float32Array.from({ length: outFeatures * inFeatures }, () => rng.normal());
    const options = { name, outFeatures, inFeatures, codebook: 'nf4', blockSize: 64, doubleQuant } as const;
    const read = (first: number, count: number): Promise<Float32Array> =>
      Promise.resolve(weight.slice(first, first + count));
    records.set(name, await quantizeCodebookLinear(engine, { ...options, weight: { dtype: 'f32', read } }));
  }
  await engine.dispose();
  return records;
}

async function write(records: ReadonlyMap<string, CodebookLinear>, maxShardBytes?: number): Promise<Folder> {
  const items = [...records].map(([name, record]) => {
    const { outFeatures, inFeatures } = record;
    const linear = { name, outFeatures, inFeatures, grid: gridOf(record), sourceDType: 'F32' } as const;
    return { kind: 'linear', linear } as const;
  });
  const grid = items[0].linear.grid;
  const model: ModelToWrite = { ...modelToWrite({ linears: [], grid }), items, maxShardBytes };
  const folder = createMemoryFolder();
  const writer = await (await bitsandbytesFormat().plan(model)).open(folder);
  for (const [name, record] of records) await writer.linear(name, record);
  await writer.finish();
  await folder.commit();
  return folder.files;
}

async function open(files: Folder): Promise<QuantizedReader> {
  const config = files.get('config.json');
  if (config === undefined) throw new Error('no config.json');
  const { quantization_config: settings } = await readJsonObject(config);
  return openBitsandbytesReader(
    settings as Record<string, unknown>,
    await openCheckpoint(files),
    'config.json',
  );
}

async function readAll(reader: QuantizedReader): Promise<Map<string, unknown>> {
  const records = new Map<string, unknown>();
  for (const module of reader.modules) records.set(module, await reader.read(module));
  return records;
}

describe('bitsandbytes folders', () => {
  it.each([
    ['double quantization, two shards', true, undefined, 2],
    ['double quantization, small shards', true, 3000, 7],
    ['plain, one file', false, undefined, 1],
  ] as const)('come back: %s', async (_, doubleQuant, maxShardBytes, shards) => {
    const records = await makeRecords(doubleQuant);
    const files = await write(records, maxShardBytes);
    expect([...files.keys()].filter((name) => name.endsWith('.safetensors'))).toHaveLength(shards);
    const reader = await open(files);
    expect(await readAll(reader)).toEqual(records);
    expect(reader).toMatchObject({ format: 'bitsandbytes', bits: 4, groupSize: 64, symmetric: null });
    expect(reader.shape(NAMES[2])).toEqual([64, 80]);
    expect(reader.grid?.(NAMES[0])).toEqual({
      kind: 'codebook',
      codebook: 'nf4',
      blockSize: 64,
      nested: doubleQuant,
    });
    expect(reader.storedBits(NAMES[0])).toBeGreaterThan(4);
    expect(reader.packing.size).toBe(NAMES.length * (doubleQuant ? 6 : 4));
    expect(() => reader.shape('model.layers.9.mlp.up_proj')).toThrow(FormatError);
  });

  it('say what they cannot hold', async () => {
    const format = bitsandbytesFormat();
    const grid = { kind: 'codebook', codebook: 'nf4', blockSize: 48, nested: false } as const;
    const shape = { outFeatures: 8, inFeatures: 8 };
    expect(format.problems(grid, shape)).toHaveLength(1);
    expect(format.problems({ kind: 'k-quant', type: 'q4_k' }, shape)[0]).toMatch(/not q4_k/);
    const fp4 = { ...grid, codebook: 'fp4', blockSize: 64 } as const;
    const mixed = modelToWrite({ linears: [NAMES[0]], grid: { ...grid, blockSize: 64 } });
    const other = modelToWrite({ linears: [NAMES[1]], grid: fp4 });
    await expect(
      (async () => format.plan({ ...mixed, items: [...mixed.items, ...other.items] }))(),
    ).rejects.toThrow(UserError);
  });

  it('damaged in any place are refused or read in order', async () => {
    const counts = { refused: 0, read: 0 };
    const originals = [await write(await makeRecords(true)), await write(await makeRecords(false))];
    for (let seed = 0; seed < 300; seed++) {
      const rng = createRng(9000 + seed);
      const files = originals[seed % 2];
      const names = [...files.keys()].filter((name) => /\.safetensors|index/.test(name));
      const name = names[rng.int(names.length)];
      const source = files.get(name);
      const bytes = (await source?.read(0, source.size)) ?? new Uint8Array(0);
      const damaged = rng.int(3) === 0 ? bytes.slice(0, rng.int(bytes.length)) : bytes.slice();
      const reach = rng.int(2) === 0 ? Math.min(damaged.length, 2000) : damaged.length;
      for (let i = 0; i <= rng.int(4) && reach > 0; i++) damaged[rng.int(reach)] ^= 1 << rng.int(8);
      try {
        const records = await readAll(
          await open(new Map(files).set(name, createMemorySource(name, damaged))),
        );
        for (const record of records.values()) {
          const { absmax, codes, outFeatures, inFeatures } = record as CodebookLinear;
          expect(absmax.every(Number.isFinite)).toBe(true);
          expect(codes).toHaveLength(Math.ceil((outFeatures * inFeatures) / 2));
        }
        counts.read += 1;
      } catch (error) {
        if (!(error instanceof FormatError)) throw new Error(`seed ${seed} of ${name}`, { cause: error });
        counts.refused += 1;
      }
    }
    expect(counts.refused).toBeGreaterThan(80);
    expect(counts.read).toBeGreaterThan(20);
  });
});
