/**
 * The header of a safetensors file, validated before anything is sized by it. The rules are those of the Rust crate
 * (safetensors/src/tensor.rs): length within limit and file, UTF-8, JSON, known dtype, shape × width = bytes, the
 * tensors lie end to end from the first byte to the last. Duplicate names are refused as well, as the format's README
 * asks. Memory: the header (at most 100 MB), never a tensor.
 */
import type { DType } from '../../core/dtype.js';
import { DTYPE_BYTES, isDType } from '../../core/dtype.js';
import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { decodeUtf8, describeJson, isJsonObject, parseJson } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import { duplicateKeys } from './duplicate-keys.js';

/** The crate's own limit; the largest published checkpoints stay below 1 MB per shard. */
export const MAX_HEADER_BYTES = 100_000_000;
/** The u64 in front of the header. */
export const LENGTH_BYTES = 8;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Name of the file that holds it, relative to the model folder. */
  readonly file: string;
  /** First byte inside the file, the header counted. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** In file order. */
  readonly tensors: readonly TensorInfo[];
}

/** Reads and validates the header of `source`; `file` is the name tensors carry. FormatError lists all that is wrong. */
export async function readSafetensorsHeader(
  source: ByteSource,
  file: string = source.name,
  signal?: AbortSignal,
): Promise<SafetensorsHeader> {
  const headerBytes = await readHeaderLength(source, signal);
  const text = decodeUtf8(await source.read(LENGTH_BYTES, headerBytes, signal), source.name, LENGTH_BYTES);
  const root = parseJson(text, source.name);
  if (!isJsonObject(root)) {
    throw new FormatError(`the header is ${describeJson(root)}, an object expected`, {
      file: source.name,
      offset: LENGTH_BYTES,
    });
  }
  const problems = duplicateKeys(text).map((key) => `${key}: the name appears twice`);
  const metadata = readMetadata(root['__metadata__'], problems);
  const dataStart = LENGTH_BYTES + headerBytes;
  const tensors: TensorInfo[] = [];
  for (const [name, value] of Object.entries(root)) {
    if (name === '__metadata__') continue;
    const parsed = readEntry(value);
    if (typeof parsed === 'string') problems.push(`tensor "${name}": ${parsed}`);
    else {
      tensors.push({ ...parsed, name, file, begin: dataStart + parsed.begin, end: dataStart + parsed.end });
    }
  }
  throwProblems(source, problems);
  // Empty tensors share their begin with the next one, so the end decides between them.
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  throwProblems(source, layoutProblems(tensors, dataStart, source.size));
  return { metadata, tensors };
}

async function readHeaderLength(source: ByteSource, signal: AbortSignal | undefined): Promise<number> {
  const file = source.name;
  if (source.size < LENGTH_BYTES) {
    throw new FormatError(`${source.size} bytes, a safetensors file has at least ${LENGTH_BYTES}`, {
      file,
      advice: 'the file is empty or truncated: download or copy it again',
    });
  }
  const prefix = await source.read(0, LENGTH_BYTES, signal);
  const declared = new DataView(prefix.buffer, prefix.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (declared > BigInt(MAX_HEADER_BYTES)) {
    throw new FormatError(`header of ${declared} bytes declared, at most ${MAX_HEADER_BYTES} allowed`, {
      file,
      offset: 0,
      advice: 'this is not a safetensors file, or it is damaged: fetch it again',
    });
  }
  const headerBytes = Number(declared);
  if (LENGTH_BYTES + headerBytes > source.size) {
    throw new FormatError(`header of ${headerBytes} bytes declared, the file has ${source.size} bytes`, {
      file,
      offset: 0,
      advice: 'the file is truncated or not a safetensors file: download or copy it again',
    });
  }
  return headerBytes;
}

function readMetadata(value: unknown, problems: string[]): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined || value === null) return metadata;
  if (!isJsonObject(value)) {
    problems.push(`__metadata__: an object expected, ${describeJson(value)} found`);
    return metadata;
  }
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry === 'string') metadata.set(key, entry);
    else problems.push(`__metadata__["${key}"]: a string expected, ${describeJson(entry)} found`);
  }
  return metadata;
}

/** The facts of one header entry, offsets still relative to the data; or what is wrong with it. */
function readEntry(value: unknown): Pick<TensorInfo, 'dtype' | 'shape' | 'begin' | 'end'> | string {
  if (!isJsonObject(value)) return `an object expected, ${describeJson(value)} found`;
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string') return `dtype: a string expected, ${describeJson(dtype)} found`;
  if (!isDType(dtype)) return `unknown dtype "${dtype}"; known are ${Object.keys(DTYPE_BYTES).join(', ')}`;
  if (!isSizes(shape)) return `shape: non-negative whole numbers expected, ${JSON.stringify(shape)} found`;
  if (!isSizes(offsets) || offsets.length !== 2) {
    return `data_offsets: two non-negative whole numbers expected, ${JSON.stringify(offsets)} found`;
  }
  const [begin, end] = offsets;
  if (begin > end) return `data_offsets: begin ${begin} lies behind end ${end}`;
  const expected = byteLengthOf(dtype, shape);
  if (expected === undefined) return `shape [${shape.join(', ')}] of ${dtype} overflows`;
  if (end - begin !== expected) {
    return `${dtype} [${shape.join(', ')}] takes ${expected} bytes, data_offsets span ${end - begin}`;
  }
  return { dtype, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Bytes of a tensor, or undefined when a partial product leaves the safe integers (then a zero behind saves nothing). */
export function byteLengthOf(dtype: DType, shape: readonly number[]): number | undefined {
  let bytes: number = DTYPE_BYTES[dtype];
  for (const dim of shape) {
    bytes *= dim;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

/** Holes, overlaps, and a last byte that is not the file's; `tensors` sorted by begin. */
function layoutProblems(tensors: readonly TensorInfo[], dataStart: number, fileSize: number): string[] {
  const problems: string[] = [];
  let position = dataStart;
  let before = 'the header';
  for (const tensor of tensors) {
    if (tensor.begin > position) {
      problems.push(
        `tensor "${tensor.name}": ${tensor.begin - position} unused bytes between it and ${before}`,
      );
    } else if (tensor.begin < position) {
      problems.push(
        `tensor "${tensor.name}": begins ${position - tensor.begin} bytes before ${before} ends: they overlap`,
      );
    }
    position = Math.max(position, tensor.end);
    before = `"${tensor.name}"`;
  }
  if (position > fileSize) {
    problems.push(`the tensors end at byte ${position}, the file at ${fileSize}: it is truncated`);
  } else if (position < fileSize) {
    problems.push(`the tensors end at byte ${position}, the file at ${fileSize}: bytes left over`);
  }
  return problems;
}

function throwProblems(source: ByteSource, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new FormatError(`the header cannot be trusted:${listOffenders(problems)}`, {
    file: source.name,
    advice: 'download or copy the file again; if it stays so, its author must write it anew',
  });
}
