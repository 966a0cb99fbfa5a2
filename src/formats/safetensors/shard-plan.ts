import type { DType } from '../../core/dtype.js';
import { UserError } from '../../core/errors.js';
import { listOffenders } from '../../io/list-offenders.js';
import { INDEX_FILE, SINGLE_FILE } from './checkpoint.js';
import type { TensorInfo } from './header.js';
import { LENGTH_BYTES, MAX_HEADER_BYTES, byteLengthOf } from './header.js';

/** "5GB" of huggingface_hub: decimal, tensor bytes only. */
export const DEFAULT_SHARD_BYTES = 5_000_000_000;
/** Headers are padded to this, so that the data starts aligned. */
const HEADER_ALIGNMENT = 8;

export interface PlannedTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface Shard {
  readonly file: string;
  /** Length prefix and padded header, ready to be written. */
  readonly header: Uint8Array;
  /** In file order, offsets filled in. */
  readonly tensors: readonly TensorInfo[];
  /** Size of the whole file. */
  readonly fileBytes: number;
}

export interface ShardPlan {
  readonly shards: readonly Shard[];
  /** model.safetensors.index.json; undefined for a single file. */
  readonly index: { readonly file: string; readonly text: string } | undefined;
  /** Bytes of all tensors. */
  readonly totalBytes: number;
  /** Bytes of all files of the plan, the index included. */
  readonly fileBytes: number;
}

export interface ShardPlanOptions {
  readonly maxShardBytes?: number;
  /** `__metadata__` of every shard. Older transformers refuse files without format "pt". */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Distributes tensors over files by huggingface_hub's rule: in the order given, a new file when the next tensor would
 * exceed the limit; a tensor beyond the limit has a file of its own; one file is model.safetensors without an index.
 * The order inside a file is the order given, so that a producer can stream; tensors lie end to end (the format allows no
 * holes), so an offset is aligned to its dtype only where the sizes before it allow.
 * UserError lists duplicate, reserved and oversized tensors.
 */
export function planShards(tensors: readonly PlannedTensor[], options: ShardPlanOptions = {}): ShardPlan {
  const maxShardBytes = options.maxShardBytes ?? DEFAULT_SHARD_BYTES;
  if (!(maxShardBytes >= 1)) {
    throw new UserError(`shard limit of ${maxShardBytes} bytes: at least 1 expected`);
  }
  const sizes = checkedSizes(tensors);
  const groups: PlannedTensor[][] = [[]];
  let filled = 0;
  tensors.forEach((tensor, i) => {
    if (filled > 0 && filled + sizes[i] > maxShardBytes) {
      groups.push([]);
      filled = 0;
    }
    groups[groups.length - 1].push(tensor);
    filled += sizes[i];
  });
  const metadata = options.metadata ?? { format: 'pt' };
  const shards = groups.map((group, i) => makeShard(shardName(i, groups.length), group, metadata));
  const totalBytes = sizes.reduce((total, size) => total + size, 0);
  const index = shards.length === 1 ? undefined : { file: INDEX_FILE, text: indexText(shards, totalBytes) };
  const indexBytes = index === undefined ? 0 : new TextEncoder().encode(index.text).byteLength;
  const fileBytes = shards.reduce((total, shard) => total + shard.fileBytes, indexBytes);
  return { shards, index, totalBytes, fileBytes };
}

function checkedSizes(tensors: readonly PlannedTensor[]): number[] {
  const seen = new Set<string>();
  const problems: string[] = [];
  const sizes = tensors.map(({ name, dtype, shape }) => {
    if (seen.has(name)) problems.push(`"${name}": planned twice`);
    if (name === '__metadata__') problems.push(`"${name}": the name is reserved`);
    seen.add(name);
    const valid = shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0);
    const bytes = valid ? byteLengthOf(dtype, shape) : undefined;
    if (bytes === undefined) problems.push(`"${name}": shape [${shape.join(', ')}] of ${dtype} is no size`);
    return bytes ?? 0;
  });
  if (problems.length > 0) throw new UserError(`these tensors cannot be written:${listOffenders(problems)}`);
  return sizes;
}

function shardName(index: number, count: number): string {
  if (count === 1) return SINGLE_FILE;
  const number = (value: number): string => String(value).padStart(5, '0');
  return `model-${number(index + 1)}-of-${number(count)}.safetensors`;
}

function makeShard(
  file: string,
  tensors: readonly PlannedTensor[],
  metadata: Readonly<Record<string, string>>,
): Shard {
  let position = 0;
  const entries: [string, unknown][] = Object.keys(metadata).length === 0 ? [] : [['__metadata__', metadata]];
  const placed = tensors.map(({ name, dtype, shape }) => {
    const begin = position;
    position += byteLengthOf(dtype, shape) ?? 0;
    entries.push([name, { dtype, shape, data_offsets: [begin, position] }]);
    return { name, dtype, shape, begin, end: position };
  });
  const header = encodeHeader(file, entries);
  const dataStart = header.byteLength;
  const infos = placed.map((t) => ({ ...t, file, begin: dataStart + t.begin, end: dataStart + t.end }));
  return { file, header, tensors: infos, fileBytes: dataStart + position };
}

/** Entries are written one by one: an object would reorder names that look like numbers. */
function encodeHeader(file: string, entries: readonly [string, unknown][]): Uint8Array {
  const json = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const text = new TextEncoder().encode(json);
  const padded = Math.ceil(text.byteLength / HEADER_ALIGNMENT) * HEADER_ALIGNMENT;
  if (padded > MAX_HEADER_BYTES) {
    throw new UserError(`${file}: header of ${padded} bytes, at most ${MAX_HEADER_BYTES} allowed`, {
      advice: 'choose a smaller shard size, so that fewer tensors share a file',
    });
  }
  const header = new Uint8Array(LENGTH_BYTES + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, LENGTH_BYTES);
  return header;
}

function indexText(shards: readonly Shard[], totalBytes: number): string {
  const weightMap = Object.fromEntries(
    shards.flatMap((shard) => shard.tensors.map((t) => [t.name, shard.file] as const)),
  );
  return `${JSON.stringify({ metadata: { total_size: totalBytes }, weight_map: weightMap }, null, 2)}\n`;
}
