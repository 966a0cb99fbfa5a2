/**
 * A checkpoint: the tensors of one safetensors file, or of shards with an index, under their names.
 *
 * Memory is bounded by the headers of all shards (kilobytes each) plus what a caller asks for: `read` holds the one
 * tensor in flight, `stream` one window of it. No shard is ever read as a whole.
 */
import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { readInto } from '../../io/byte-source.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { StreamOptions } from '../../io/stream-chunks.js';
import { streamChunks } from '../../io/stream-chunks.js';
import type { TensorInfo } from './header.js';
import { readSafetensorsHeader } from './header.js';
import { readWeightMap } from './weight-map.js';

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

export interface Checkpoint {
  /** By name; in index order, or in file order where there is no index. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** `__metadata__` of the first shard, such as { format: "pt" }. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Tensors that lie in a shard without being named by the index; loaders leave them out, and so do we. */
  readonly unindexed: readonly string[];
  /** Names of the files read, relative to the model folder. */
  readonly shards: readonly string[];
  /** FormatError when there is no such tensor. */
  info(name: string): TensorInfo;
  /** All bytes of a tensor, little-endian and row-major, in its own dtype. */
  read(name: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** Bytes [offset, offset + length) of a tensor. */
  readRange(name: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;
  /** Bytes of a tensor from `offset` on, into all of `target`. Optional: a caller without it copies what readRange gives. */
  readRangeInto?(name: string, offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** The bytes of a tensor in chunks of at most `windowBytes`. */
  stream(name: string, options?: StreamOptions): AsyncIterable<Uint8Array>;
}

/** Bytes, counted from the start of a tensor. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Opens the checkpoint among `files` (names relative to the model folder): model.safetensors, else
 * model.safetensors.index.json with its shards, else the one .safetensors file there is.
 * Reads and validates every header; no tensor. FormatError lists all offenders.
 */
export async function openCheckpoint(
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const single = chooseSingleFile(files);
  if (single !== undefined) {
    const header = await readSafetensorsHeader(single.source, single.file, signal);
    const tensors = new Map(header.tensors.map((info) => [info.name, info]));
    return makeCheckpoint({
      files,
      tensors,
      metadata: header.metadata,
      unindexed: [],
      shards: [single.file],
    });
  }
  return openShards(files, signal);
}

function chooseSingleFile(
  files: ReadonlyMap<string, ByteSource>,
): { file: string; source: ByteSource } | undefined {
  const model = files.get(SINGLE_FILE);
  if (model !== undefined) return { file: SINGLE_FILE, source: model };
  if (files.has(INDEX_FILE)) return undefined;
  const candidates = [...files.keys()].filter((file) => file.endsWith('.safetensors'));
  const source = files.get(candidates[0]);
  if (candidates.length === 1 && source !== undefined) return { file: candidates[0], source };
  const found =
    candidates.length === 0
      ? `among ${files.size} files: ${[...files.keys()].slice(0, 8).join(', ') || 'none'}`
      : `but several .safetensors files, which may be shards of one model or not:${listOffenders(candidates)}`;
  throw new FormatError(`neither ${SINGLE_FILE} nor ${INDEX_FILE} found, ${found}`, {
    file: 'model folder',
    advice:
      'halfbyte reads safetensors only: convert other weights (.bin, .gguf) with save_pretrained, or fetch the missing file',
  });
}

async function openShards(
  files: ReadonlyMap<string, ByteSource>,
  signal: AbortSignal | undefined,
): Promise<Checkpoint> {
  const index = files.get(INDEX_FILE);
  if (index === undefined) throw new FormatError('the index is missing', { file: INDEX_FILE });
  const { weightMap, shards } = await readWeightMap(index, files, signal);
  const found = new Map<string, TensorInfo[]>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [file, source] of shards) {
    const header = await readSafetensorsHeader(source, file, signal);
    if (metadata.size === 0) metadata = header.metadata;
    for (const info of header.tensors) found.set(info.name, [...(found.get(info.name) ?? []), info]);
  }
  const problems: string[] = [];
  const tensors = new Map<string, TensorInfo>();
  for (const [name, file] of weightMap) {
    const places = found.get(name) ?? [];
    const info = places.find((place) => place.file === file);
    if (info !== undefined) tensors.set(name, info);
    else if (places.length === 0) problems.push(`"${name}": expected in ${file}, found in no shard`);
    else
      problems.push(
        `"${name}": expected in ${file}, found in ${places.map((place) => place.file).join(', ')}`,
      );
  }
  if (problems.length > 0) {
    throw new FormatError(`index and shards disagree:${listOffenders(problems)}`, {
      file: index.name,
      advice: 'index and shards come from different versions of the model: download all of them again',
    });
  }
  const unindexed = [...found.keys()].filter((name) => !weightMap.has(name));
  return makeCheckpoint({ files, tensors, metadata, unindexed, shards: [...shards.keys()] });
}

interface CheckpointParts extends Pick<Checkpoint, 'tensors' | 'metadata' | 'unindexed' | 'shards'> {
  readonly files: ReadonlyMap<string, ByteSource>;
}

function makeCheckpoint({ files, ...facts }: CheckpointParts): Checkpoint {
  const locate = (name: string): { info: TensorInfo; source: ByteSource } => {
    const info = facts.tensors.get(name);
    const source = info === undefined ? undefined : files.get(info.file);
    if (info === undefined || source === undefined) {
      throw new FormatError('the tensor is missing', {
        file: facts.shards.length === 1 ? facts.shards[0] : INDEX_FILE,
        tensor: name,
        advice: `the checkpoint holds ${facts.tensors.size} tensors; check that it belongs to the config beside it`,
      });
    }
    return { info, source };
  };
  const locateRange = (
    name: string,
    { offset, length }: ByteRange,
  ): { readonly source: ByteSource; readonly start: number } => {
    const { info, source } = locate(name);
    if (!(offset >= 0 && length >= 0 && offset + length <= info.end - info.begin)) {
      throw new FormatError(
        `bytes ${offset} to ${offset + length} asked for, the tensor has ${info.end - info.begin}`,
        { file: source.name, tensor: name },
      );
    }
    return { source, start: info.begin + offset };
  };
  const readRange: Checkpoint['readRange'] = async (name, range, signal) => {
    const { source, start } = locateRange(name, range);
    return source.read(start, range.length, signal);
  };
  return {
    ...facts,
    info: (name) => locate(name).info,
    read: async (name, signal) => {
      const { begin, end } = locate(name).info;
      return readRange(name, { offset: 0, length: end - begin }, signal);
    },
    readRange,
    readRangeInto: async (name, offset, target, signal) => {
      const { source, start } = locateRange(name, { offset, length: target.byteLength });
      await readInto(source, start, target, signal);
    },
    stream: (name, options = {}) => {
      const { info, source } = locate(name);
      return streamChunks(source, info.begin, info.end - info.begin, options);
    },
  };
}
