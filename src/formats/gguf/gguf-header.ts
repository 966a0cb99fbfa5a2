/**
 * The header of a GGUF file, version 2 or 3, validated as ggml's reader does it (ggml/src/gguf.cpp): keys and names once
 * each, known types, whole blocks per row, tensors end to end in the order of their infos. Memory: a small multiple of the
 * header, which the file's size bounds.
 */
import { FormatError, UserError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { TensorType } from './block-types.js';
import { BLOCK_TYPES, blockElems, PLAIN_TYPES, rowBytes, tensorTypeOf } from './block-types.js';
import { DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, MAX_NAME_BYTES, padding, VERSION } from './encode-header.js';
import type { GgufMetadata, GgufValue } from './gguf-value.js';
import { createHeaderCursor } from './header-cursor.js';
import type { ValueReader } from './read-value.js';
import { readString, readValue } from './read-value.js';

export interface GgufTensorInfo {
  readonly name: string;
  readonly type: TensorType;
  /** Slowest dimension first, as everywhere but in the file itself: [N, K]. */
  readonly shape: readonly number[];
  readonly file: string;
  /** First byte inside the file, the header counted. */
  readonly begin: number;
  /** One past the last byte, padding not counted. */
  readonly end: number;
}

export interface GgufHeader {
  readonly metadata: GgufMetadata;
  /** In file order. */
  readonly tensors: readonly GgufTensorInfo[];
}

/** Shortest metadata entry (empty key, type, one byte) and tensor info (empty name, no dimensions). */
const MIN_ENTRY_BYTES = 13;
const MIN_INFO_BYTES = 24;

/**
 * Reads the header of `source`; `file` is the name tensors carry. FormatError for what is malformed, UserError listing
 * all tensors of types that halfbyte does not read.
 */
export async function readGgufHeader(
  source: ByteSource,
  file: string = source.name,
  signal?: AbortSignal,
): Promise<GgufHeader> {
  const cursor = createHeaderCursor(source, signal);
  const reader: ValueReader = { cursor, source };
  await cursor.need(24, 'the header');
  checkVersion(cursor.u32(), cursor.u32(), source);
  const tensorCount = cursor.count(cursor.u64(), MIN_INFO_BYTES, 'the list of tensors');
  const entryCount = cursor.count(cursor.u64(), MIN_ENTRY_BYTES, 'the metadata');
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const offset = cursor.position;
    const key = await readString(reader, `metadata key ${i}`);
    if (key === '' || metadata.has(key))
      throw new FormatError(
        key === '' ? `metadata key ${i} is empty` : `metadata key "${key}" appears twice`,
        {
          file: source.name,
          offset,
        },
      );
    metadata.set(key, await readValue(reader, key));
  }
  const alignment = readAlignment(metadata, source);
  const infos: RawInfo[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const info = await readInfo(reader, i);
    if (names.has(info.name))
      throw new FormatError('the name appears twice', {
        file: source.name,
        tensor: info.name,
        offset: info.at,
      });
    names.add(info.name);
    infos.push(info);
  }
  const dataStart = cursor.position + padding(cursor.position, alignment);
  return { metadata, tensors: placeTensors(infos, { source, file, alignment, dataStart }) };
}

function checkVersion(magic: number, version: number, source: ByteSource): void {
  const file = source.name;
  if (magic !== MAGIC)
    throw new FormatError('not a GGUF file: it does not begin with "GGUF"', {
      file,
      offset: 0,
      advice: 'older llama.cpp files (GGML, GGJT) must be made anew from the original model',
    });
  if (version === VERSION || version === 2) return;
  const isSwapped = version > 0xffff && (version & 0xffff) === 0;
  throw new FormatError(
    isSwapped ? 'a big-endian GGUF file' : `GGUF version ${version}; halfbyte reads 2 and 3`,
    {
      file,
      offset: 4,
      advice: 'convert it with a current llama.cpp, or make it anew from the original model',
    },
  );
}

function readAlignment(metadata: GgufMetadata, source: ByteSource): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return DEFAULT_ALIGNMENT;
  const isPower = entry.type === 'u32' && entry.value > 0 && Number.isInteger(Math.log2(entry.value));
  if (isPower) return entry.value;
  const found = entry.type === 'array' ? 'an array' : `${entry.type} ${String(entry.value)}`;
  throw new FormatError(`general.alignment: a power of two as u32 expected, ${found} found`, {
    file: source.name,
  });
}

interface RawInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly typeId: number;
  readonly offset: bigint;
  /** Where the info stands in the file. */
  readonly at: number;
}

async function readInfo(reader: ValueReader, index: number): Promise<RawInfo> {
  const { cursor, source } = reader;
  const at = cursor.position;
  const name = await readString(reader, `the name of tensor ${index}`);
  const fail = (message: string): FormatError =>
    new FormatError(message, { file: source.name, tensor: name.slice(0, MAX_NAME_BYTES), offset: at });
  if (name === '' || new TextEncoder().encode(name).byteLength > MAX_NAME_BYTES)
    throw fail(`a tensor name of 1 to ${MAX_NAME_BYTES} bytes expected`);
  await cursor.need(4, `tensor "${name}"`);
  const dims = cursor.u32();
  if (dims > MAX_DIMS) throw fail(`${dims} dimensions, at most ${MAX_DIMS} allowed`);
  await cursor.need(dims * 8 + 12, `tensor "${name}"`);
  const shape: number[] = [];
  let elems = 1;
  for (let i = 0; i < dims; i++) {
    const dim = Number(cursor.u64());
    shape.unshift(dim);
    elems *= dim;
    if (dim < 1 || !Number.isSafeInteger(elems * 8))
      throw fail(`dimensions [${shape.join(', ')}] are no size`);
  }
  return { name, shape, typeId: cursor.u32(), offset: cursor.u64(), at };
}

interface Placing {
  readonly source: ByteSource;
  readonly file: string;
  readonly alignment: number;
  readonly dataStart: number;
}

function placeTensors(infos: readonly RawInfo[], placing: Placing): GgufTensorInfo[] {
  const { source, file, alignment, dataStart } = placing;
  const problems: string[] = [];
  const foreign: string[] = [];
  const placed: GgufTensorInfo[] = [];
  let position = 0;
  for (const { name, shape, typeId, offset } of infos) {
    const found = tensorTypeOf(typeId);
    if (found === undefined) {
      problems.push(`"${name}": type ${typeId} does not exist`);
      break;
    }
    if ('foreign' in found) {
      foreign.push(`"${name}": ${found.foreign}`);
      continue;
    }
    const type = found.known;
    const row = shape.at(-1) ?? 1;
    if (row % blockElems(type) !== 0) {
      problems.push(`"${name}": rows of ${row} are not whole blocks of ${type} (${blockElems(type)})`);
      break;
    }
    const bytes = rowBytes(type, shape.reduce((total, dim) => total * dim, 1)); // prettier-ignore
    if (foreign.length === 0 && offset !== BigInt(position)) {
      problems.push(`"${name}": offset ${offset}, ${position} expected behind the tensors before it`);
      break;
    }
    const begin = dataStart + position;
    position += bytes + padding(bytes, alignment);
    if (foreign.length === 0 && begin + bytes > source.size) {
      problems.push(`"${name}": ends at byte ${begin + bytes}, the file at ${source.size}: it is truncated`);
      break;
    }
    placed.push({ name, type, shape, file, begin, end: begin + bytes });
  }
  throwProblems(problems, foreign, source);
  return placed;
}

function throwProblems(problems: readonly string[], foreign: readonly string[], source: ByteSource): void {
  if (problems.length > 0)
    throw new FormatError(`the tensors cannot be read:${listOffenders(problems)}`, {
      file: source.name,
      advice: 'the file is truncated or damaged: download or make it again',
    });
  if (foreign.length === 0) return;
  const known = [...Object.keys(PLAIN_TYPES), ...Object.keys(BLOCK_TYPES)].join(', ');
  throw new UserError(
    `${source.name}: tensors of types that halfbyte does not read:${listOffenders(foreign)}`,
    {
      advice: `it reads ${known}: fetch the model in one of these, or the original one`,
    },
  );
}
