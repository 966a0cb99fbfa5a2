// Plan: the golden file of 160 bytes, written and read; every value type survives; offsets and splits are planned as ggml
// reads them; each lie a header can tell (counts, lengths, types, offsets, names, alignment) is refused with its place, and
// never fetches more than the file holds.
import { describe, expect, it } from 'vitest';
import { FormatError, UserError } from '../../../src/core/errors.js';
import { encodeHeader } from '../../../src/formats/gguf/encode-header.js';
import { readGgufHeader } from '../../../src/formats/gguf/gguf-header.js';
import { planGguf } from '../../../src/formats/gguf/gguf-plan.js';
import type { PlannedGgufTensor } from '../../../src/formats/gguf/gguf-plan.js';
import type { GgufMetadata, GgufValue } from '../../../src/formats/gguf/gguf-value.js';
import { createGgufWriter } from '../../../src/formats/gguf/gguf-writer.js';
import { checkpointName, ggufName } from '../../../src/formats/gguf/tensor-names.js';
import { headPermutation } from '../../../src/formats/gguf/row-permutation.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import { bytesOf } from '../../../src/io/byte-views.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { createMemorySource } from '../../../src/io/memory-source.js';

const GOLDEN = Buffer.from(
  '47475546030000000100000000000000010000000000000014000000000000006765' +
    '6e6572616c2e617263686974656374757265080000000500000000000000' +
    '6c6c616d61010000000000000074020000000200000000000000030000000000000000000000' +
    '0000000000000000'.padEnd(0),
  'hex',
);
const LLAMA: GgufMetadata = new Map([['general.architecture', { type: 'string', value: 'llama' }]]);
const MATRIX: PlannedGgufTensor = { name: 't', type: 'F32', shape: [3, 2] };

function sourceOf(bytes: Uint8Array, name = 'x.gguf'): ByteSource {
  return createMemorySource(name, bytes);
}

async function write(
  tensors: readonly PlannedGgufTensor[],
  options: { maxShardBytes?: number; metadata?: GgufMetadata } = {},
) {
  const plan = planGguf(tensors, { metadata: LLAMA, baseName: 'x', ...options });
  const folder = createMemoryFolder();
  const writer = createGgufWriter(plan, folder);
  for (const { name, begin, end } of plan.files.flatMap((file) => file.tensors))
    await writer.append(name, new Uint8Array(end - begin).fill(name.charCodeAt(0)));
  await writer.finish();
  await folder.commit();
  return { plan, files: folder.files };
}

describe('the golden file', () => {
  it('is written byte for byte', async () => {
    const plan = planGguf([MATRIX], { metadata: LLAMA, baseName: 'x' });
    const folder = createMemoryFolder();
    const writer = createGgufWriter(plan, folder);
    await writer.append('t', bytesOf(Float32Array.of(0, 1, 2, 3, 4, 5)));
    await writer.finish();
    await folder.commit();
    const bytes = await folder.files.get('x.gguf')?.read(0, 160);
    expect(plan.fileBytes).toBe(160);
    expect(
      Buffer.from(bytes ?? [])
        .subarray(0, GOLDEN.length)
        .toString('hex'),
    ).toBe(GOLDEN.toString('hex'));
    expect(
      Buffer.from(bytes ?? [])
        .subarray(GOLDEN.length, 128)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(
      Buffer.from(bytes ?? [])
        .subarray(128)
        .toString('hex'),
    ).toBe(`000000000000803f00000040000040400000804000 00a040${'00'.repeat(8)}`.replace(' ', ''));
  });

  it('is read', async () => {
    const { files } = await write([MATRIX]);
    const header = await readGgufHeader(files.get('x.gguf') ?? sourceOf(GOLDEN), 'x.gguf');
    expect(header.metadata).toEqual(LLAMA);
    expect(header.tensors).toEqual([{ ...MATRIX, file: 'x.gguf', begin: 128, end: 152 }]);
  });
});

const EVERY_TYPE: [string, GgufValue][] = [
  ['a', { type: 'u8', value: 255 }],
  ['b', { type: 'i8', value: -128 }],
  ['c', { type: 'u16', value: 65535 }],
  ['d', { type: 'i16', value: -32768 }],
  ['e', { type: 'u32', value: 2 ** 32 - 1 }],
  ['f', { type: 'i32', value: -(2 ** 31) }],
  ['g', { type: 'f32', value: Math.fround(1e-5) }],
  ['h', { type: 'f64', value: Math.PI }],
  ['i', { type: 'u64', value: 2n ** 64n - 1n }],
  ['j', { type: 'i64', value: -(2n ** 63n) }],
  ['k', { type: 'bool', value: true }],
  ['l', { type: 'bool', value: false }],
  ['m', { type: 'string', value: 'Ġword ▁ \u{1f600} \ufeff' }],
  ['n', { type: 'array', items: 'string', values: ['', 'x', 'ü'] }],
  ['o', { type: 'array', items: 'f32', values: Float32Array.of(-1000, 0.5) }],
  ['p', { type: 'array', items: 'i32', values: Int32Array.of(-1, 3) }],
  ['q', { type: 'array', items: 'u64', values: BigUint64Array.of(1n, 2n ** 63n) }],
  ['r', { type: 'array', items: 'bool', values: Uint8Array.of(0, 1) }],
  ['s', { type: 'array', items: 'string', values: [] }],
];

describe('metadata', () => {
  it('survives, every type', async () => {
    const { files } = await write([MATRIX], { metadata: new Map(EVERY_TYPE) });
    const source = files.get('x.gguf') ?? sourceOf(GOLDEN);
    expect([...(await readGgufHeader(source)).metadata]).toEqual(EVERY_TYPE);
  });

  it('longer than a read window', async () => {
    const values = Array.from({ length: 150_000 }, (_, i) => `token number ${i}`);
    const metadata: GgufMetadata = new Map([['tokens', { type: 'array', items: 'string', values }]]);
    const { files, plan } = await write([MATRIX], { metadata });
    expect(plan.fileBytes).toBeGreaterThan(3e6);
    const source = files.get('x.gguf') ?? sourceOf(GOLDEN);
    expect((await readGgufHeader(source)).metadata).toEqual(metadata);
  });

  it.each<[string, GgufValue]>([
    ['u32', { type: 'u32', value: -1 }],
    ['u8', { type: 'u8', value: 256 }],
    ['i32', { type: 'i32', value: 1.5 }],
    ['u64', { type: 'u64', value: -1n }],
  ])('a value that is no %s is refused', (_, value) => {
    expect(() => encodeHeader(new Map([['x', value]]), [])).toThrow(UserError);
  });
});

describe('plan and writer', () => {
  const tensors: PlannedGgufTensor[] = [
    { name: 'a', type: 'F16', shape: [5] },
    { name: 'b', type: 'Q4_0', shape: [3, 64] },
    { name: 'c', type: 'F32', shape: [7, 1] },
  ];

  it('offsets are running padded sums', async () => {
    const { plan, files } = await write(tensors);
    const [{ header, tensors: placed, fileBytes }] = plan.files;
    expect(header.byteLength % 32).toBe(0);
    expect(placed.map(({ begin, end }) => [begin - header.byteLength, end - begin])).toEqual([[0, 10], [32, 108], [160, 28]]); // prettier-ignore
    const source = files.get('x.gguf') ?? sourceOf(GOLDEN);
    expect(source.size).toBe(fileBytes);
    expect(fileBytes).toBe(header.byteLength + 192);
    expect((await readGgufHeader(source, 'x.gguf')).tensors).toEqual(placed);
    expect([...(await source.read(placed[1].end - 1, 3))]).toEqual(['b'.charCodeAt(0), 0, 0]);
  });

  it('splits are marked in every part, metadata is in the first', async () => {
    const { files } = await write(tensors, { maxShardBytes: 100 });
    expect([...files.keys()]).toEqual([
      'x-00001-of-00003.gguf',
      'x-00002-of-00003.gguf',
      'x-00003-of-00003.gguf',
    ]);
    for (const [index, source] of [...files.values()].entries()) {
      const { metadata, tensors: found } = await readGgufHeader(source);
      expect(metadata.get('split.no')).toEqual({ type: 'u16', value: index });
      expect(metadata.get('split.count')).toEqual({ type: 'u16', value: 3 });
      expect(metadata.get('split.tensors.count')).toEqual({ type: 'i32', value: 3 });
      expect(metadata.has('general.architecture')).toBe(index === 0);
      expect(found.map(({ name }) => name)).toEqual([tensors[index].name]);
    }
  });

  it('refuses names and shapes that GGUF cannot hold, all at once', () => {
    const bad: PlannedGgufTensor[] = [
      { name: 'x'.repeat(64), type: 'F32', shape: [1] },
      { name: 'y', type: 'F32', shape: [1, 1, 1, 1, 1] },
      { name: 'z', type: 'Q4_K', shape: [2, 128] },
      { name: 'z', type: 'F32', shape: [2] },
    ];
    const plan = (): unknown => planGguf(bad, { metadata: LLAMA, baseName: 'x' });
    expect(plan).toThrow(
      /64 bytes[^]*5 dimensions[^]*rows of 128 are not whole blocks of Q4_K[^]*planned twice/,
    );
  });

  it('refuses tensors out of turn, too long, too short', async () => {
    const plan = planGguf(tensors, { metadata: LLAMA, baseName: 'x' });
    const writer = createGgufWriter(plan, createMemoryFolder());
    await expect(writer.append('b', new Uint8Array(1))).rejects.toThrow(/"b" where "a" is expected/);
    await expect(writer.append('a', new Uint8Array(11))).rejects.toThrow(
      /planned as F16 \[5\] of 10 bytes, produced 11/,
    );
    await writer.append('a', new Uint8Array(9));
    await expect(writer.finish()).rejects.toThrow(/produced 9/);
  });

  it('a model without tensors is a file of metadata', async () => {
    const { files } = await write([]);
    const source = files.get('x.gguf') ?? sourceOf(GOLDEN);
    expect((await readGgufHeader(source)).metadata).toEqual(LLAMA);
  });
});

/** A source that counts what is fetched. */
function counting(bytes: Uint8Array): ByteSource & { fetched: number } {
  const inner = sourceOf(bytes);
  return {
    name: inner.name,
    size: inner.size,
    fetched: 0,
    read(offset, length, signal) {
      this.fetched += length;
      return inner.read(offset, length, signal);
    },
  };
}

describe('lies', () => {
  /** The golden file with one number changed: [byte, value, width]. */
  const KEY_LENGTH = 24;
  const VALUE_TYPE = 24 + 8 + 20;
  const VALUE_LENGTH = VALUE_TYPE + 4;
  const INFO = VALUE_LENGTH + 8 + 5;
  const DIMS = INFO + 8 + 1;
  const cases: [string, number, bigint, 4 | 8, RegExp][] = [
    ['magic', 0, 0x46554746n, 4, /byte 0: not a GGUF file/],
    ['version 1', 4, 1n, 4, /byte 4: GGUF version 1/],
    ['version 4', 4, 4n, 4, /GGUF version 4; halfbyte reads 2 and 3/],
    ['big endian', 4, 0x03000000n, 4, /big-endian/],
    [
      'tensor count',
      8,
      2n ** 60n,
      8,
      /list of tensors \(1152921504606846976 declared\) reaches beyond the end of the file/,
    ],
    ['one tensor more', 8, 2n, 8, /byte 110: a tensor name of 1 to 63 bytes expected/],
    ['entry count', 16, 2n ** 64n - 1n, 8, /the metadata \(\d+ declared\)/],
    [
      'key length',
      KEY_LENGTH,
      2n ** 40n,
      8,
      /byte 32: metadata key 0 \(1099511627776 declared\) reaches beyond/,
    ],
    ['value type', VALUE_TYPE, 13n, 4, /byte 52: the value of "general.architecture" has type 13/],
    ['value length', VALUE_LENGTH, 97n, 8, /byte 64: the value of "general.architecture" \(97 declared\)/],
    ['tensor name length', INFO, 2n ** 63n, 8, /the name of tensor 0 \(\d+ declared\)/],
    ['five dimensions', DIMS, 5n, 4, /tensor "t", byte 69: 5 dimensions, at most 4/],
    ['a dimension of 0', DIMS + 4, 0n, 8, /dimensions \[0\] are no size/],
    ['a dimension beyond integers', DIMS + 4, 2n ** 62n, 8, /are no size/],
    [
      'dimensions beyond the file',
      DIMS + 4,
      2000n,
      8,
      /"t": ends at byte 24128, the file at 160: it is truncated/,
    ],
    ['a type that does not exist', DIMS + 20, 999n, 4, /"t": type 999 does not exist/],
    ['a removed type', DIMS + 20, 4n, 4, /"t": type 4 does not exist/],
    ['half a block', DIMS + 20, 2n, 4, /rows of 2 are not whole blocks of Q4_0 \(32\)/],
    ['offset', DIMS + 24, 32n, 8, /"t": offset 32, 0 expected/],
  ];

  it.each(cases)('%s', async (_, at, value, width, message) => {
    const { files } = await write([MATRIX]);
    const bytes = Buffer.from((await files.get('x.gguf')?.read(0, 160)) ?? []);
    if (width === 4) bytes.writeUInt32LE(Number(value), at);
    else bytes.writeBigUInt64LE(value, at);
    const source = counting(bytes);
    const reading = readGgufHeader(source);
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow(message);
    expect(source.fetched).toBeLessThanOrEqual(2 * 160);
  });

  const header = (
    entries: [string, GgufValue][],
    tensors: Parameters<typeof encodeHeader>[1] = [],
  ): Uint8Array => encodeHeader(new Map(entries), tensors);

  it.each<[string, Uint8Array, RegExp]>([
    [
      'no alignment',
      header([['general.alignment', { type: 'u32', value: 0 }]]),
      /general\.alignment: a power of two as u32 expected, u32 0 found/,
    ],
    ['alignment 33', header([['general.alignment', { type: 'u32', value: 33 }]]), /u32 33 found/],
    [
      'alignment as text',
      header([['general.alignment', { type: 'string', value: '32' }]]),
      /string 32 found/,
    ],
    [
      'an array of arrays',
      Buffer.concat([
        header([['a', { type: 'u32', value: 0 }]]).subarray(0, 33),
        Buffer.from('0900000009000000'.padEnd(64, '0'), 'hex'),
      ]),
      /the value of "a" is an array of arrays/,
    ],
    ['an empty key', header([['', { type: 'u8', value: 1 }]]), /metadata key 0 is empty/],
    [
      'two tensors of one name',
      header(
        [],
        [
          { name: 't', type: 'F32', shape: [1], offset: 0 },
          { name: 't', type: 'F32', shape: [1], offset: 32 },
        ],
      ),
      /tensor "t", byte 57: the name appears twice/,
    ],
    [
      'a long name',
      header([], [{ name: 'n'.repeat(64), type: 'F32', shape: [1], offset: 0 }]),
      /1 to 63 bytes/,
    ],
    [
      'a bool of 2',
      Buffer.from(header([['b', { type: 'bool', value: true }]])).fill(2, 37, 38),
      /a bool is 0 or 1/,
    ],
    [
      'a key that is no text',
      Buffer.from(header([['bb', { type: 'u8', value: 1 }]])).fill(0xff, 32, 34),
      /byte 32: metadata key 0 is not UTF-8/,
    ],
    [
      'two equal keys',
      Buffer.concat([
        header([
          ['b', { type: 'u8', value: 1 }],
          ['c', { type: 'u8', value: 1 }],
        ]),
      ]).fill('b', 46, 47),
      /key "b" appears twice/,
    ],
    ['nothing', new Uint8Array(0), /the header reaches beyond the end of the file at byte 0/],
  ])('%s', async (_, bytes, message) => {
    const reading = readGgufHeader(sourceOf(bytes));
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow(message);
  });

  it('another alignment is followed', async () => {
    const bytes = Buffer.concat([
      encodeHeader(new Map([['general.alignment', { type: 'u32', value: 8 }]]), [
        { name: 'a', type: 'F32', shape: [1], offset: 0 },
        { name: 'b', type: 'F32', shape: [1], offset: 8 },
      ]),
      Buffer.alloc(12),
    ]);
    const [a, b] = (await readGgufHeader(sourceOf(bytes))).tensors;
    expect(b.begin - a.begin).toBe(8);
    expect(a.begin % 8).toBe(0);
  });
});

describe('names', () => {
  const NAMES = [
    ['model.embed_tokens.weight', 'token_embd.weight'],
    ['model.norm.weight', 'output_norm.weight'],
    ['lm_head.weight', 'output.weight'],
    ['model.layers.0.self_attn.q_proj.weight', 'blk.0.attn_q.weight'],
    ['model.layers.31.self_attn.k_proj.bias', 'blk.31.attn_k.bias'],
    ['model.layers.2.self_attn.o_proj.weight', 'blk.2.attn_output.weight'],
    ['model.layers.2.self_attn.q_norm.weight', 'blk.2.attn_q_norm.weight'],
    ['model.layers.2.input_layernorm.weight', 'blk.2.attn_norm.weight'],
    ['model.layers.2.post_attention_layernorm.weight', 'blk.2.ffn_norm.weight'],
    ['model.layers.10.mlp.down_proj.weight', 'blk.10.ffn_down.weight'],
  ];

  it.each(NAMES)('%s is %s', (checkpoint, gguf) => {
    expect(ggufName(checkpoint)).toBe(gguf);
    expect(checkpointName(gguf)).toBe(checkpoint);
  });

  it('others have none', () => {
    for (const name of [
      'model.layers.0.self_attn.rotary_emb.inv_freq',
      'transformer.h.0.attn.weight',
      'lm_head',
    ])
      expect(ggufName(name)).toBeUndefined();
    for (const name of ['blk.0.ffn_gate_exps.weight', 'rope_freqs.weight', 'blk.0.attn_qkv.weight'])
      expect(checkpointName(name)).toBeUndefined();
  });

  it('rows of a head of eight change places as llama.cpp wants them', () => {
    const order = headPermutation(8);
    expect(Array.from({ length: 8 }, (_, row) => order(row))).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    expect(order(8 + 3)).toBe(8 + 5);
  });
});
