// Plan: headers that the Rust crate accepts are accepted, each way of breaking one is refused with a message that names
// the offender, and nothing beyond the header is read to find out. Control: the golden file of the format's examples.
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.js';
import { createMemorySource } from '../../src/io/memory-source.js';
import { duplicateKeys } from '../../src/formats/safetensors/duplicate-keys.js';
import { readSafetensorsHeader } from '../../src/formats/safetensors/header.js';
import { countReads, entry, rawFile } from './safetensors-helpers.js';

const DATA_8 = new Uint8Array(8);

async function read(bytes: Uint8Array) {
  return readSafetensorsHeader(createMemorySource('f.safetensors', bytes));
}

async function failure(bytes: Uint8Array): Promise<FormatError> {
  const error: unknown = await read(bytes).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(FormatError);
  return error as FormatError;
}

describe('readSafetensorsHeader accepts', () => {
  it('the worked example, 163 bytes', async () => {
    const header =
      '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' +
      '"b":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]}}    ';
    const bytes = rawFile(header, Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 1, 2, 3));
    expect(bytes.byteLength).toBe(163);
    const { tensors, metadata } = await read(bytes);
    expect([...metadata]).toEqual([['format', 'pt']]);
    expect(tensors).toEqual([
      { name: 'a', dtype: 'F32', shape: [2], file: 'f.safetensors', begin: 152, end: 160 },
      { name: 'b', dtype: 'U8', shape: [1, 3], file: 'f.safetensors', begin: 160, end: 163 },
    ]);
  });

  const accepted: [string, string, Uint8Array][] = [
    ['a scalar', `{"s":${entry('F32', [], [0, 4])}}`, new Uint8Array(4)],
    ['no tensors', '{}', new Uint8Array(0)],
    ['null metadata', `{"__metadata__":null,"s":${entry('F64', [1], [0, 8])}}`, DATA_8],
    ['leading spaces', `  {"s":${entry('I64', [1], [0, 8])}}`, DATA_8],
    ['trailing newlines', `{"s":${entry('I64', [1], [0, 8])}}\n\n`, DATA_8],
    ['extra keys', '{"s":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"note":[{"a":1}]}}', DATA_8],
    [
      'misaligned begins',
      `{"a":${entry('U8', [1], [0, 1])},"b":${entry('F16', [2], [1, 5])}}`,
      new Uint8Array(5),
    ],
    [
      'empty tensors anywhere, in any key order',
      `{"z":${entry('F32', [0, 7], [4, 4])},"b":${entry('F32', [1], [4, 8])},"a":${entry('F32', [1], [0, 4])},"y":${entry('U8', [0], [8, 8])}}`,
      DATA_8,
    ],
    [
      'names that mean something to JavaScript',
      `{"__proto__":${entry('U8', [4], [0, 4])},"1":${entry('U8', [4], [4, 8])}}`,
      DATA_8,
    ],
  ];
  it.each(accepted)('%s', async (_, header, data) => {
    const { tensors } = await read(rawFile(header, data));
    expect(tensors.reduce((total, t) => total + t.end - t.begin, 0)).toBe(data.byteLength);
  });

  it('every dtype, with its width', async () => {
    const widths = {
      F64: 8,
      I64: 8,
      F32: 4,
      I32: 4,
      F16: 2,
      BF16: 2,
      I16: 2,
      F8_E4M3: 1,
      F8_E5M2: 1,
      I8: 1,
      U8: 1,
    };
    for (const [dtype, width] of Object.entries({ ...widths, BOOL: 1 })) {
      const { tensors } = await read(
        rawFile(`{"t":${entry(dtype, [3], [0, 3 * width])}}`, new Uint8Array(3 * width)),
      );
      expect(tensors[0].dtype).toBe(dtype);
    }
  });
});

describe('readSafetensorsHeader refuses', () => {
  const ok = entry('F32', [2], [0, 8]);
  const refused: [string, Uint8Array, RegExp][] = [
    ['an empty file', new Uint8Array(0), /0 bytes, a safetensors file has at least 8/],
    ['seven bytes', new Uint8Array(7), /7 bytes/],
    [
      'a header longer than the file',
      rawFile('{}', DATA_8, 11n),
      /header of 11 bytes declared, the file has 18 bytes/,
    ],
    ['a header over the limit', rawFile('{}', DATA_8, 100_000_001n), /at most 100000000 allowed/],
    [
      'a length beyond 2^53',
      rawFile('{}', DATA_8, 0xffff_ffff_ffff_ffffn),
      /18446744073709551615 bytes declared/,
    ],
    ['a zero-length header', rawFile('', DATA_8), /not valid JSON/],
    ['broken JSON', rawFile('{"a":}', DATA_8), /not valid JSON at line 1, column 6/],
    ['padding with NUL', rawFile('{}\0\0'), /not valid JSON/],
    ['an array', rawFile('[]'), /the header is an array, an object expected/],
    ['a number', rawFile('12'), /an object expected/],
    ['a string entry', rawFile('{"a":"F32"}'), /tensor "a": an object expected/],
    [
      'an unknown dtype',
      rawFile(`{"a":${entry('F4', [16], [0, 8])}}`, DATA_8),
      /unknown dtype "F4"; known are F64/,
    ],
    [
      'a prototype name as dtype',
      rawFile(`{"a":${entry('toString', [8], [0, 8])}}`, DATA_8),
      /unknown dtype/,
    ],
    [
      'a missing dtype',
      rawFile('{"a":{"shape":[8],"data_offsets":[0,8]}}', DATA_8),
      /dtype: a string expected/,
    ],
    ['a missing shape', rawFile('{"a":{"dtype":"U8","data_offsets":[0,8]}}', DATA_8), /shape: non-negative/],
    ['a negative dimension', rawFile(`{"a":${entry('U8', [-8], [0, 8])}}`, DATA_8), /shape: non-negative/],
    ['a fractional dimension', rawFile(`{"a":${entry('U8', [1.5], [0, 8])}}`, DATA_8), /shape: non-negative/],
    [
      'a dimension beyond 2^53',
      rawFile('{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,8]}}', DATA_8),
      /shape: non-negative/,
    ],
    [
      'a shape that overflows',
      rawFile(`{"a":${entry('F32', [2 ** 40, 2 ** 40], [0, 8])}}`, DATA_8),
      /overflows/,
    ],
    [
      'an overflow hidden by a zero',
      rawFile(`{"a":${entry('F32', [2 ** 40, 2 ** 40, 0], [0, 0])}}`),
      /overflows/,
    ],
    ['three offsets', rawFile(`{"a":${entry('U8', [8], [0, 8, 8])}}`, DATA_8), /data_offsets: two/],
    [
      'offsets as strings',
      rawFile('{"a":{"dtype":"U8","shape":[8],"data_offsets":["0","8"]}}', DATA_8),
      /data_offsets/,
    ],
    [
      'a negative offset',
      rawFile(`{"a":${entry('U8', [8], [-8, 0])}}`, DATA_8),
      /data_offsets: two non-negative/,
    ],
    ['begin behind end', rawFile(`{"a":${entry('U8', [8], [8, 0])}}`, DATA_8), /begin 8 lies behind end 0/],
    [
      'a span unlike the shape',
      rawFile(`{"a":${entry('F32', [3], [0, 8])}}`, DATA_8),
      /F32 \[3\] takes 12 bytes, data_offsets span 8/,
    ],
    [
      'a first tensor not at zero',
      rawFile(`{"a":${entry('U8', [7], [1, 8])}}`, DATA_8),
      /1 unused bytes between it and the header/,
    ],
    [
      'a hole',
      rawFile(`{"a":${entry('U8', [2], [0, 2])},"b":${entry('U8', [4], [4, 8])}}`, DATA_8),
      /tensor "b": 2 unused bytes between it and "a"/,
    ],
    [
      'an overlap',
      rawFile(`{"a":${entry('U8', [6], [0, 6])},"b":${entry('U8', [4], [4, 8])}}`, DATA_8),
      /tensor "b": begins 2 bytes before "a" ends/,
    ],
    ['the same bytes twice', rawFile(`{"a":${ok},"b":${ok}}`, DATA_8), /overlap/],
    [
      'an empty tensor inside another',
      rawFile(`{"a":${ok},"e":${entry('U8', [0], [4, 4])}}`, DATA_8),
      /tensor "e"/,
    ],
    ['a truncated file', rawFile(`{"a":${entry('U8', [9], [0, 9])}}`, DATA_8), /it is truncated/],
    ['trailing bytes', rawFile(`{"a":${entry('U8', [7], [0, 7])}}`, DATA_8), /bytes left over/],
    [
      'offsets beyond the file',
      rawFile(`{"a":${entry('U8', [2 ** 50], [0, 2 ** 50])}}`, DATA_8),
      /it is truncated/,
    ],
    ['a duplicate name', rawFile(`{"a":${ok},"a":${ok}}`, DATA_8), /"a": the name appears twice/],
    [
      'a duplicate in two spellings',
      rawFile(`{"a":${ok},"\\u0061":${ok}}`, DATA_8),
      /"a": the name appears twice/,
    ],
    [
      'a duplicate key inside an entry',
      rawFile('{"a":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}', DATA_8),
      /"dtype": the name appears twice/,
    ],
    [
      'metadata that is no object',
      rawFile(`{"__metadata__":[],"a":${ok}}`, DATA_8),
      /__metadata__: an object expected/,
    ],
    [
      'a metadata value that is no string',
      rawFile(`{"__metadata__":{"n":1},"a":${ok}}`, DATA_8),
      /__metadata__\["n"\]: a string expected/,
    ],
  ];
  it.each(refused)('%s', async (_, bytes, message) => {
    const error = await failure(bytes);
    expect(error.message).toMatch(message);
    expect(error.message).toContain('f.safetensors');
  });

  it('invalid UTF-8', async () => {
    const bytes = rawFile(`{"a":${ok}}`, DATA_8);
    bytes[10] = 0xff;
    expect((await failure(bytes)).message).toMatch(/not valid UTF-8/);
  });

  it('several offenders at once, all listed', async () => {
    const header = `{"a":${entry('F4', [8], [0, 8])},"b":${entry('F32', [1], [8, 16])},"c":3}`;
    const { message } = await failure(rawFile(header, new Uint8Array(16)));
    for (const name of ['a', 'b', 'c']) expect(message).toContain(`tensor "${name}"`);
  });
});

describe('what a header costs', () => {
  it('two small reads, whatever it claims', async () => {
    const bytes = rawFile(`{"a":${entry('U8', [2 ** 50], [0, 2 ** 50])}}`, DATA_8);
    const source = countReads(createMemorySource('f', bytes));
    await expect(readSafetensorsHeader(source)).rejects.toThrow(FormatError);
    expect(source.reads.reduce((total, r) => total + r.length, 0)).toBe(bytes.byteLength - 8);
  });

  it('one read of eight bytes when the length alone is wrong', async () => {
    const source = countReads(createMemorySource('f', rawFile('{}', DATA_8, 99_999_999n)));
    await expect(readSafetensorsHeader(source)).rejects.toThrow(FormatError);
    expect(source.reads).toEqual([{ offset: 0, length: 8 }]);
  });
});

describe('duplicateKeys', () => {
  it.each([
    ['{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}', []],
    ['{"a":1,"b":"\\"a\\":","a":2}', ['"a"']],
    ['{"x":{"k":1,"k":2},"y":["k","k"]}', ['"k"']],
    ['{"a\\\\":1,"a\\\\":2}', ['"a\\"']],
    ['"a"', []],
  ])('%s', (text, expected) => {
    JSON.parse(text);
    expect(duplicateKeys(text)).toEqual(expected);
  });
});
