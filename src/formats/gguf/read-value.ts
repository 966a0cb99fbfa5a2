import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import type { TypedArrayConstructor } from '../../io/byte-views.js';
import { viewBytes } from '../../io/byte-views.js';
import type { GgufValue } from './gguf-value.js';
import type { HeaderCursor } from './header-cursor.js';
import type { ValueTypeName } from './value-types.js';
import { VALUE_ARRAYS, VALUE_BYTES, VALUE_TYPE_IDS } from './value-types.js';

export interface ValueReader {
  readonly cursor: HeaderCursor;
  readonly source: ByteSource;
}

const TYPE_NAMES: ReadonlyMap<number, ValueTypeName> = new Map(
  Object.entries(VALUE_TYPE_IDS).map(([name, id]) => [id, name as ValueTypeName]),
);

/** A string: its length, then UTF-8. `what` names it in errors. */
export async function readString({ cursor }: ValueReader, what: string): Promise<string> {
  if (!cursor.has(8)) await cursor.need(8, what);
  const bytes = cursor.count(cursor.u64(), 1, what);
  if (!cursor.has(bytes)) await cursor.need(bytes, what);
  return cursor.text(bytes, what);
}

/** The value of `key`: its type, then itself. */
export async function readValue(reader: ValueReader, key: string): Promise<GgufValue> {
  const what = `the value of "${key}"`;
  const type = await readType(reader, what);
  switch (type) {
    case 'string':
      return { type, value: await readString(reader, what) };
    case 'array':
      return readArray(reader, what);
    case 'bool':
      return { type, value: (await readNumbers(reader, type, 1, what))[0] === 1 };
    case 'u64':
    case 'i64':
      return { type, value: (await readBigs(reader, type, 1, what))[0] };
    default:
      return { type, value: (await readNumbers(reader, type, 1, what))[0] };
  }
}

async function readType({ cursor, source }: ValueReader, what: string): Promise<ValueTypeName> {
  await cursor.need(4, what);
  const offset = cursor.position;
  const id = cursor.u32();
  const type = TYPE_NAMES.get(id);
  if (type !== undefined) return type;
  throw new FormatError(`${what} has type ${id}; types are 0 to ${TYPE_NAMES.size - 1}`, {
    file: source.name,
    offset,
    advice: 'the file is damaged, or newer than GGUF version 3',
  });
}

async function readArray(reader: ValueReader, what: string): Promise<GgufValue> {
  const { cursor, source } = reader;
  const items = await readType(reader, `${what}, an array,`);
  await cursor.need(8, what);
  switch (items) {
    case 'array':
      throw new FormatError(`${what} is an array of arrays, which GGUF does not have`, {
        file: source.name,
        offset: cursor.position,
      });
    case 'string': {
      const count = cursor.count(cursor.u64(), 8, what);
      const values: string[] = [];
      for (let i = 0; i < count; i++) values.push(await readString(reader, `${what}, item ${i},`));
      return { type: 'array', items, values };
    }
    case 'u64':
    case 'i64': {
      const count = cursor.count(cursor.u64(), VALUE_BYTES[items], what);
      return { type: 'array', items, values: await readBigs(reader, items, count, what) };
    }
    default: {
      const count = cursor.count(cursor.u64(), VALUE_BYTES[items], what);
      return { type: 'array', items, values: await readNumbers(reader, items, count, what) };
    }
  }
}

type NumberItems = Exclude<keyof typeof VALUE_ARRAYS, 'u64' | 'i64'>;

async function readNumbers(
  reader: ValueReader,
  items: NumberItems,
  count: number,
  what: string,
): Promise<ArrayLike<number>> {
  const bytes = await readBytes(reader, count * VALUE_BYTES[items], what);
  if (items === 'bool' && bytes.some((value) => value > 1)) {
    const offset = reader.cursor.position - bytes.byteLength;
    throw new FormatError(`${what}: a bool is 0 or 1`, { file: reader.source.name, offset });
  }
  const type: TypedArrayConstructor<ArrayLike<number>> = VALUE_ARRAYS[items];
  return viewBytes(bytes, type);
}

async function readBigs(
  reader: ValueReader,
  items: 'u64' | 'i64',
  count: number,
  what: string,
): Promise<ArrayLike<bigint>> {
  const bytes = await readBytes(reader, count * VALUE_BYTES[items], what);
  const type: TypedArrayConstructor<ArrayLike<bigint>> = VALUE_ARRAYS[items];
  return viewBytes(bytes, type);
}

async function readBytes({ cursor }: ValueReader, bytes: number, what: string): Promise<Uint8Array> {
  await cursor.need(bytes, what);
  return cursor.take(bytes);
}
