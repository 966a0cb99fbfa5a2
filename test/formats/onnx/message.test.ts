/**
 * Plan: golden bytes of the wire format (the protobuf documentation's own examples), round trips of numbers at the edges of
 * varints, the walk through a window against the parse in memory, and messages that lie about their lengths.
 */
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/core/errors.js';
import { createMemorySource } from '../../../src/io/memory-source.js';
import type { LoadedField } from '../../../src/formats/onnx/message-reader.js';
import {
  fieldIntegers,
  fieldText,
  parseFields,
  walkFields,
} from '../../../src/formats/onnx/message-reader.js';
import { MessageWriter } from '../../../src/formats/onnx/message-writer.js';

const parse = (bytes: Uint8Array): LoadedField[] => [...parseFields({ file: 'm', bytes, offset: 0 })];

describe('protocol buffer messages', () => {
  it('writes the documented examples', () => {
    expect([...new MessageWriter().integer(1, 150).finish()]).toEqual([0x08, 0x96, 0x01]);
    const text = new MessageWriter().text(2, 'testing').finish();
    expect([...text]).toEqual([0x12, 0x07, ...new TextEncoder().encode('testing')]);
    const nested = new MessageWriter().message(3, new MessageWriter().integer(1, 150)).finish();
    expect([...nested]).toEqual([0x1a, 0x03, 0x08, 0x96, 0x01]);
    expect([...new MessageWriter().integer(1, -2).finish()]).toEqual([
      0x08,
      0xfe,
      ...Array<number>(8).fill(0xff),
      0x01,
    ]);
    expect([...new MessageWriter().float(20, 1.5).finish()]).toEqual([0xa5, 0x01, 0, 0, 0xc0, 0x3f]);
  });

  it('reads back integers of every length', () => {
    const values = [0, 1, 127, 128, 2 ** 31, 2 ** 49 - 1, 2 ** 49, Number.MAX_SAFE_INTEGER, -1, -(2 ** 40)];
    const writer = new MessageWriter();
    for (const value of values) writer.integer(7, value);
    expect(parse(writer.finish()).map(({ value }) => value)).toEqual(values);
  });

  it('reads repeated integers packed and plain', () => {
    const packed = new MessageWriter()
      .bytes(1, Uint8Array.of(3, 0xac, 0x02, 1))
      .integer(1, 9)
      .finish();
    expect(parse(packed).flatMap((field) => fieldIntegers(field, 'm'))).toEqual([3, 300, 1, 9]);
  });

  it('walks a long message as it parses it, stepping over content', async () => {
    const writer = new MessageWriter();
    for (let i = 0; i < 300; i++)
      writer
        .integer(1, i * 977)
        .bytes(2, new Uint8Array((i * 131) % 4099).fill(0xff))
        .float(3, i);
    const bytes = writer.finish();
    const walked = [];
    for await (const field of walkFields(createMemorySource('m', bytes), { begin: 0, end: bytes.byteLength }))
      walked.push(field);
    expect(bytes.byteLength).toBeGreaterThan(5 * 65536);
    expect(walked).toEqual(
      parse(bytes).map(({ number, wire, value, begin, end }) => ({ number, wire, value, begin, end })),
    );
  });

  it.each([
    ['a length beyond the message', [0x12, 0x08, 1, 2, 3]],
    ['a length of 2^63', [0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0]],
    ['an integer without end', [0x08, 0xff, 0xff]],
    ['an integer of eleven bytes', [0x08, ...Array<number>(11).fill(0x80), 1]],
    ['field number 0', [0x02, 0x00]],
    ['a group', [0x0b]],
    ['half a float', [0x0d, 0, 0]],
  ])('refuses %s', (_, bytes) => {
    expect(() => parse(Uint8Array.from(bytes))).toThrow(FormatError);
  });

  it('refuses text that is not UTF-8', () => {
    const [field] = parse(Uint8Array.of(0x0a, 2, 0xc3, 0x28));
    expect(() => fieldText(field, 'm', 'a name')).toThrow(/UTF-8/);
  });
});
