// Plan: single files and shards open to the same names; every way an index can be wrong is refused with all offenders;
// reading costs one tensor or one window, never a shard. Round trips through our own writer are the control.
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import { DTYPE_BYTES } from '../../src/core/dtype.js';
import type { DType } from '../../src/core/dtype.js';
import { FormatError } from '../../src/core/errors.js';
import { concatBytes } from '../../src/io/byte-views.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import type { PlannedTensor } from '../../src/formats/safetensors/shard-plan.js';
import { DEFAULT_SHARD_BYTES, planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import { countReads, entry, memoryFiles, rawFile } from './safetensors-helpers.js';

const DTYPES = Object.keys(DTYPE_BYTES) as DType[];

/** Tensors of every dtype with ragged, empty and scalar shapes, filled with noise (seed 5). */
function makeTensors(): { planned: PlannedTensor[]; bytes: Map<string, Uint8Array> } {
  const rng = createRng(5);
  const shapes = [[3, 5], [], [0, 4], [17], [1, 1, 2]];
  const planned = DTYPES.map((dtype, i) => ({
    name: `layer.${i}.${dtype}`,
    dtype,
    shape: shapes[i % shapes.length],
  }));
  const sized = [
    ...planned,
    { name: '7', dtype: 'U8' as const, shape: [3] },
    { name: '__proto__', dtype: 'F32' as const, shape: [2] },
  ];
  const bytes = new Map<string, Uint8Array>();
  for (const { name, dtype, shape } of sized) {
    const length = shape.reduce((total, dim) => total * dim, DTYPE_BYTES[dtype]);
    bytes.set(
      name,
      Uint8Array.from({ length }, () => rng.int(256)),
    );
  }
  return { planned: sized, bytes };
}

async function writeInMemory(
  planned: readonly PlannedTensor[],
  bytes: ReadonlyMap<string, Uint8Array>,
  maxShardBytes: number,
) {
  const folder = createMemoryFolder();
  const plan = planShards(planned, { maxShardBytes });
  await writeShards(plan, folder, async (name) => Promise.resolve(bytes.get(name) ?? new Uint8Array(0)));
  await folder.commit();
  return { files: folder.files, plan };
}

describe('writing and reading back', () => {
  it.each([1, 20, 64, 100, 10_000])('every dtype, shards of at most %d bytes', async (maxShardBytes) => {
    const { planned, bytes } = makeTensors();
    const { files, plan } = await writeInMemory(planned, bytes, maxShardBytes);
    const checkpoint = await openCheckpoint(files);
    expect([...checkpoint.tensors.keys()].sort()).toEqual(planned.map((t) => t.name).sort());
    expect(checkpoint.metadata.get('format')).toBe('pt');
    expect(checkpoint.unindexed).toEqual([]);
    for (const { name, dtype, shape } of planned) {
      expect(checkpoint.info(name)).toMatchObject({ name, dtype, shape });
      expect(await checkpoint.read(name)).toEqual(bytes.get(name));
      const chunks: Uint8Array[] = [];
      for await (const chunk of checkpoint.stream(name, { windowBytes: 7 })) chunks.push(chunk);
      expect(concatBytes(chunks)).toEqual(bytes.get(name));
    }
    expect([...files.keys()].sort()).toEqual(
      [...plan.shards.map((s) => s.file), ...(plan.index === undefined ? [] : [plan.index.file])].sort(),
    );
    const sizes = [...files.values()].reduce((total, file) => total + file.size, 0);
    expect(sizes).toBe(plan.fileBytes);
  });

  it('writes the golden file of the format', async () => {
    const planned: PlannedTensor[] = [
      { name: 'a', dtype: 'F32', shape: [2] },
      { name: 'b', dtype: 'U8', shape: [1, 3] },
    ];
    const bytes = new Map([
      ['a', new Uint8Array(Float32Array.of(1, -2).buffer)],
      ['b', Uint8Array.of(1, 2, 3)],
    ]);
    const { files } = await writeInMemory(planned, bytes, 1000);
    const file = files.get('model.safetensors');
    const header =
      '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' +
      '"b":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]}}    ';
    expect(await file?.read(0, file.size)).toEqual(
      rawFile(header, Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 1, 2, 3)),
    );
  });

  it('takes tensors in chunks, and names the one whose length is wrong', async () => {
    const plan = planShards([{ name: 'w', dtype: 'F16', shape: [4] }]);
    async function* chunks(...lengths: number[]) {
      for (const length of lengths) yield await Promise.resolve(new Uint8Array(length));
    }
    await writeShards(plan, createMemoryFolder(), () => chunks(3, 0, 5));
    for (const wrong of [[7], [9], [4, 5], []]) {
      const failing = writeShards(plan, createMemoryFolder(), () => chunks(...wrong));
      await expect(failing).rejects.toThrow(
        /tensor "w" of model\.safetensors: planned as F16 \[4\] of 8 bytes/,
      );
    }
  });
});

describe('planShards', () => {
  const tensor = (name: string, bytes: number): PlannedTensor => ({ name, dtype: 'U8', shape: [bytes] });
  const shards = (sizes: number[], max: number) =>
    planShards(
      sizes.map((size, i) => tensor(`t${i}`, size)),
      { maxShardBytes: max },
    ).shards.map((s) => s.tensors.map((t) => t.end - t.begin));

  it.each([
    [[4, 4, 4], 12, [[4, 4, 4]]],
    [[4, 4, 4], 8, [[4, 4], [4]]],
    [[20, 4, 4], 8, [[20], [4, 4]]],
    [[4, 20, 4], 8, [[4], [20], [4]]],
    [[0, 20], 8, [[0, 20]]],
    [[], 8, [[]]],
  ])('%j with limit %d', (sizes, max, expected) => {
    expect(shards(sizes, max)).toEqual(expected);
  });

  it('names shards and indexes them in order', () => {
    const plan = planShards([tensor('b', 5), tensor('a', 5)], { maxShardBytes: 5 });
    expect(plan.shards.map((s) => s.file)).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ]);
    expect(JSON.parse(plan.index?.text ?? '')).toEqual({
      metadata: { total_size: 10 },
      weight_map: { b: 'model-00001-of-00002.safetensors', a: 'model-00002-of-00002.safetensors' },
    });
    for (const shard of plan.shards) expect(shard.header.byteLength % 8).toBe(0);
  });

  it('plans beyond 2^32 without losing a byte', () => {
    const plan = planShards([tensor('big', 6e9), tensor('small', 1)], { maxShardBytes: 1e12 });
    expect(plan.shards[0].tensors[1].end).toBe(plan.shards[0].header.byteLength + 6e9 + 1);
    expect(planShards([tensor('big', 6e9), tensor('small', 1)]).shards.length).toBe(2);
    expect(DEFAULT_SHARD_BYTES).toBe(5e9);
  });

  it('refuses duplicates, the reserved name, impossible shapes: all at once', () => {
    const bad = [
      tensor('a', 1),
      tensor('a', 1),
      tensor('__metadata__', 1),
      tensor('n', -1),
      { name: 'o', dtype: 'F32' as const, shape: [2 ** 40, 2 ** 40] },
    ];
    const plan = () => planShards(bad);
    for (const name of ['"a": planned twice', 'reserved', '"n"', '"o"']) expect(plan).toThrow(name);
  });
});

describe('openCheckpoint refuses', () => {
  const shard = (name: string) => rawFile(`{"${name}":${entry('U8', [4], [0, 4])}}`, new Uint8Array(4));
  const index = (map: unknown) => JSON.stringify({ metadata: {}, weight_map: map });

  async function message(files: Record<string, Uint8Array | string>): Promise<string> {
    const error: unknown = await openCheckpoint(memoryFiles(files)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FormatError);
    return (error as FormatError).message;
  }

  it('a folder without safetensors', async () => {
    expect(await message({ 'pytorch_model.bin': 'x' })).toContain('neither model.safetensors nor');
    expect(await message({})).toContain('among 0 files');
  });

  it('several files without an index', async () => {
    const text = await message({ 'x.safetensors': shard('a'), 'y.safetensors': shard('b') });
    expect(text).toContain('x.safetensors');
    expect(text).toContain('y.safetensors');
  });

  it('every absent and every escaping file of an index', async () => {
    const names = [
      '../evil.safetensors',
      '/etc/passwd',
      'a\\b.safetensors',
      'C:x',
      'absent-1.safetensors',
      'absent-2.safetensors',
    ];
    const text = await message({
      'model.safetensors.index.json': index(
        Object.fromEntries(['ok.safetensors', ...names].map((name, i) => [`t${i}`, name])),
      ),
      'ok.safetensors': shard('t0'),
    });
    for (const name of names) expect(text).toContain(name);
    expect(text).not.toContain('ok.safetensors');
    expect(text).toContain('file "absent-2.safetensors" is missing');
    expect(text).toContain('leaves the folder');
  });

  it('an escaping file even when it is offered', async () => {
    const text = await message({
      'model.safetensors.index.json': index({ a: '../s.safetensors' }),
      '../s.safetensors': shard('a'),
    });
    expect(text).toContain('refused');
  });

  it.each([
    ['{"weight_map":[]}', /"weight_map": an object expected, an array found/],
    ['{}', /"weight_map": an object expected, undefined/],
    ['[]', /"weight_map"/],
    ['{"weight_map":{}}', /names no tensors/],
    ['{"weight_map":{"a":1}}', /tensor "a": a file name expected/],
    ['{"weight_map":{"a":"s.safetensors","a":"s.safetensors"}}', /appears twice/],
    ['{"weight_map":', /not valid JSON at line 1, column 15/],
  ])('the index %s', async (text, expected) => {
    expect(await message({ 'model.safetensors.index.json': text, 's.safetensors': shard('a') })).toMatch(
      expected,
    );
  });

  it('tensors that are not where the index says, all of them', async () => {
    const text = await message({
      'model.safetensors.index.json': index({
        a: '1.safetensors',
        b: '1.safetensors',
        c: '2.safetensors',
        d: '1.safetensors',
      }),
      '1.safetensors': shard('a'),
      '2.safetensors': shard('b'),
    });
    expect(text).toContain('"b": expected in 1.safetensors, found in 2.safetensors');
    expect(text).toContain('"c": expected in 2.safetensors, found in no shard');
    expect(text).toContain('"d": expected in 1.safetensors, found in no shard');
    expect(text).not.toContain('"a"');
  });

  it('a truncated shard, by its name', async () => {
    const text = await message({
      'model.safetensors.index.json': index({ a: '1.safetensors' }),
      '1.safetensors': shard('a').slice(0, -1),
    });
    expect(text).toMatch(/^1\.safetensors: .*truncated/s);
  });

  it('a tensor that is not there', async () => {
    const checkpoint = await openCheckpoint(memoryFiles({ 'model.safetensors': shard('a') }));
    await expect(checkpoint.read('b')).rejects.toThrow(
      'model.safetensors, tensor "b": the tensor is missing',
    );
    await expect(checkpoint.readRange('a', { offset: 3, length: 2 })).rejects.toThrow('the tensor has 4');
    expect(() => checkpoint.stream('b')).toThrow(FormatError);
  });
});

describe('openCheckpoint chooses', () => {
  const shard = (name: string) => rawFile(`{"${name}":${entry('U8', [4], [0, 4])}}`, new Uint8Array(4));

  it('model.safetensors, then the index, then the only file', async () => {
    const files = {
      'model.safetensors': shard('single'),
      'model.safetensors.index.json': '{"weight_map":{"sharded":"s.safetensors"}}',
      's.safetensors': rawFile(
        `{"sharded":${entry('U8', [4], [0, 4])},"more":${entry('U8', [1], [4, 5])}}`,
        new Uint8Array(5),
      ),
    };
    const withIndex = memoryFiles(files);
    withIndex.delete('model.safetensors');
    expect([...(await openCheckpoint(memoryFiles(files))).tensors.keys()]).toEqual(['single']);
    const sharded = await openCheckpoint(withIndex);
    expect([...sharded.tensors.keys()]).toEqual(['sharded']);
    expect(sharded.unindexed).toEqual(['more']);
    expect((await openCheckpoint(memoryFiles({ 'any.safetensors': shard('x') }))).shards).toEqual([
      'any.safetensors',
    ]);
  });
});

describe('memory', () => {
  it('is one tensor or one window, whatever the shard holds', async () => {
    const planned: PlannedTensor[] = [
      { name: 'huge', dtype: 'U8', shape: [200_000] },
      { name: 'small', dtype: 'U8', shape: [100] },
    ];
    const { files } = await writeInMemory(
      planned,
      new Map([
        ['huge', new Uint8Array(200_000)],
        ['small', new Uint8Array(100)],
      ]),
      1e6,
    );
    const counting = new Map([...files].map(([name, source]) => [name, countReads(source)]));
    const checkpoint = await openCheckpoint(counting);
    const reads = counting.get('model.safetensors')?.reads ?? [];
    expect(reads.length).toBe(2);
    await checkpoint.read('small');
    expect(reads.slice(2).map((r) => r.length)).toEqual([100]);
    for await (const chunk of checkpoint.stream('huge', { windowBytes: 4096 }))
      expect(chunk.byteLength).toBeLessThanOrEqual(4096);
    expect(Math.max(...reads.slice(2).map((r) => r.length))).toBe(4096);
    expect(reads.slice(3).reduce((total, r) => total + r.length, 0)).toBe(200_000);
  });
});
