/** The front of a GGUF file (ggml's docs/gguf.md, version 3), little-endian. Memory: the header. */
import { UserError } from '../../core/errors.js';
import { bytesOf, concatBytes } from '../../io/byte-views.js';
import { tensorTypeId } from './block-types.js';
import type { GgufTensorInfo } from './gguf-header.js';
import type { GgufArray, GgufMetadata, GgufValue } from './gguf-value.js';
import { VALUE_ARRAYS, VALUE_TYPE_IDS } from './value-types.js';

export const MAGIC = 0x46554747;
export const VERSION = 3;
export const DEFAULT_ALIGNMENT = 32;
/** ggml refuses longer names (GGML_MAX_NAME, the closing zero counted). */
export const MAX_NAME_BYTES = 63;
export const MAX_DIMS = 4;

const UTF8 = new TextEncoder();

/** `offset` of a tensor counts from the start of the data section. */
export type PlacedTensor = Pick<GgufTensorInfo, 'name' | 'type' | 'shape'> & { readonly offset: number };

/** Header with its padding up to the data section. UserError for names that GGUF cannot hold. */
export function encodeHeader(metadata: GgufMetadata, tensors: readonly PlacedTensor[]): Uint8Array {
  const parts: Uint8Array[] = [
    number('u32', MAGIC),
    number('u32', VERSION),
    number('u64', BigInt(tensors.length)),
    number('u64', BigInt(metadata.size)),
  ];
  for (const [key, value] of metadata) parts.push(...string(key), ...encodeValue(value));
  for (const { name, type, shape, offset } of tensors) {
    const dims = [...shape].reverse();
    parts.push(...string(name), number('u32', dims.length));
    for (const dim of dims) parts.push(number('u64', BigInt(dim)));
    parts.push(number('u32', tensorTypeId(type)), number('u64', BigInt(offset)));
  }
  const size = parts.reduce((total, part) => total + part.byteLength, 0);
  parts.push(new Uint8Array(padding(size)));
  return concatBytes(parts);
}

/** Zero bytes that follow `size` bytes. */
export function padding(size: number, alignment = DEFAULT_ALIGNMENT): number {
  return (alignment - (size % alignment)) % alignment;
}

/** Why a tensor cannot be described by a GGUF header, or undefined. */
export function tensorProblem({ name, shape }: Pick<GgufTensorInfo, 'name' | 'shape'>): string | undefined {
  const bytes = UTF8.encode(name).byteLength;
  if (bytes > MAX_NAME_BYTES) return `"${name}": a name of ${bytes} bytes, at most ${MAX_NAME_BYTES} allowed`;
  if (shape.length > MAX_DIMS) return `"${name}": ${shape.length} dimensions, at most ${MAX_DIMS} allowed`;
  return undefined;
}

function number(type: Exclude<keyof typeof VALUE_ARRAYS, 'u64' | 'i64'>, value: number): Uint8Array;
function number(type: 'u64' | 'i64', value: bigint): Uint8Array;
function number(type: keyof typeof VALUE_ARRAYS, value: number | bigint): Uint8Array {
  if (type === 'u64' || type === 'i64') {
    const stored = VALUE_ARRAYS[type].of(BigInt(value));
    if (stored[0] !== value) throw outOfRange(type, value);
    return bytesOf(stored);
  }
  const stored = VALUE_ARRAYS[type].of(Number(value));
  if (type !== 'f32' && type !== 'f64' && stored[0] !== value) throw outOfRange(type, value);
  return bytesOf(stored);
}

function outOfRange(type: string, value: number | bigint): UserError {
  return new UserError(`metadata value ${value} is no ${type}`);
}

function string(text: string): Uint8Array[] {
  const bytes = UTF8.encode(text);
  return [number('u64', BigInt(bytes.byteLength)), bytes];
}

function encodeValue(value: GgufValue): Uint8Array[] {
  const type = number('u32', VALUE_TYPE_IDS[value.type]);
  switch (value.type) {
    case 'string':
      return [type, ...string(value.value)];
    case 'bool':
      return [type, number('u8', value.value ? 1 : 0)];
    case 'u64':
    case 'i64':
      return [type, number(value.type, value.value)];
    case 'array':
      return [type, ...encodeArray(value)];
    default:
      return [type, number(value.type, value.value)];
  }
}

function encodeArray(array: GgufArray): Uint8Array[] {
  const head = [number('u32', VALUE_TYPE_IDS[array.items]), number('u64', BigInt(array.values.length))];
  switch (array.items) {
    case 'string':
      return [...head, concatBytes(array.values.flatMap(string))];
    case 'u64':
    case 'i64':
      return [...head, bytesOf(VALUE_ARRAYS[array.items].from(array.values))];
    default:
      return [...head, bytesOf(VALUE_ARRAYS[array.items].from(array.values))];
  }
}
