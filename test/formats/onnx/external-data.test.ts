/**
 * Plan: places of tensors in one file and in several; locations, offsets and lengths of hostile models.
 */
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/core/errors.js';
import { chunkName, planExternalData } from '../../../src/formats/onnx/external-data.js';
import { placeExternal } from '../../../src/formats/onnx/place-external.js';
import { createMemorySource } from '../../../src/io/memory-source.js';

const tensor = (name: string, bytes: number) => ({ name, type: 'U8', dims: [bytes] }) as const;

describe('planning external data', () => {
  it('puts tensors in order, big ones on pages, none across files', () => {
    const tensors = [
      tensor('a', 100),
      tensor('b', 70_000),
      tensor('c', 30),
      tensor('d', 90_000),
      tensor('e', 1),
    ];
    const plan = planExternalData(tensors, { modelFile: 'm.onnx', maxChunkBytes: 80_000 });
    expect(plan.tensors.map(({ data }) => [data.location, data.offset, data.length])).toEqual([
      ['m.onnx_data', 0, 100],
      ['m.onnx_data', 4096, 70_000],
      ['m.onnx_data', 74_112, 30],
      ['m.onnx_data_1', 0, 90_000],
      ['m.onnx_data_2', 0, 1],
    ]);
    expect(plan.files.map(({ bytes }) => bytes)).toEqual([74_142, 90_000, 1]);
    expect(chunkName('x.onnx', 12)).toBe('x.onnx_data_12');
  });

  it('counts beyond 4 GiB', () => {
    const plan = planExternalData([tensor('a', 3e9), tensor('b', 3e9), tensor('c', 9)], {
      modelFile: 'm.onnx',
      maxChunkBytes: 1e11,
    });
    expect(plan.tensors[2].data.offset).toBeGreaterThan(6e9);
    expect(plan.files).toHaveLength(1);
  });
});

describe('external data of strangers', () => {
  const files = new Map([
    ['onnx/w.bin', createMemorySource('onnx/w.bin', new Uint8Array(100))],
    ['secret', createMemorySource('secret', new Uint8Array(100))],
  ]);
  const place = (entries: Record<string, string>, bytes = 40) =>
    placeExternal(files, {
      tensor: 't',
      modelFile: 'onnx/m.onnx',
      at: 77,
      entries: new Map(Object.entries(entries)),
      bytes,
    });

  it('finds what lies beside the model', () => {
    expect(place({ location: 'w.bin', offset: '60', length: '40' })).toEqual({
      file: 'onnx/w.bin',
      begin: 60,
      end: 100,
    });
    expect(place({ location: 'w.bin' })).toEqual({ file: 'onnx/w.bin', begin: 0, end: 40 });
  });

  it.each([
    ['a parent folder', { location: '../secret' }, /leaves the folder/],
    ['an absolute path', { location: '/etc/passwd' }, /absolute/],
    ['a drive', { location: 'C:/x' }, /drive/],
    ['a backslash', { location: '..\\secret' }, /backslash/],
    ['no location', {}, /empty/],
    ['a file that is not there', { location: 'secret' }, /missing/],
    ['an offset beyond the end', { location: 'w.bin', offset: '61' }, /61 to 101/],
    ['a negative offset', { location: 'w.bin', offset: '-4' }, /offset "-4"/],
    ['an offset that is no number', { location: 'w.bin', offset: '1e3' }, /1e3/],
    ['a huge offset', { location: 'w.bin', offset: '99999999999999999999' }, /offset/],
    ['another length', { location: 'w.bin', length: '41' }, /40 bytes expected/],
  ])('refuses %s', (_, entries, message) => {
    const attempt = () => place(entries);
    expect(attempt).toThrow(FormatError);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow(/onnx\/m\.onnx, tensor "t", byte 77/);
  });
});
