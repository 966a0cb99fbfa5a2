import { DTYPE_BYTES } from '../../core/dtype.js';
import { product } from '../../core/dims.js';
import { Bug, FormatError } from '../../core/errors.js';
import type { RowOrder } from '../../formats/gguf/blocks/row-encoder.js';
import { isBlockType, PLAIN_TYPES } from '../../formats/gguf/block-types.js';
import type { GgufTensorInfo } from '../../formats/gguf/gguf-header.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { TensorInfo } from '../../formats/safetensors/header.js';
import type { ByteSource } from '../../io/byte-source.js';
import { DEFAULT_WINDOW_BYTES, streamChunks } from '../../io/stream-chunks.js';

/** A tensor of a GGUF file under the name it has in a checkpoint. */
export interface GgufCheckpointTensor {
  readonly info: GgufTensorInfo;
  /** Rows that change places within each head: checkpoint row of a file row. */
  readonly heads?: { readonly headDim: number; readonly order: RowOrder } | undefined;
}

export interface GgufCheckpointOptions {
  readonly files: ReadonlyMap<string, ByteSource>;
  /** File names in order. */
  readonly shards: readonly string[];
  /** By the name in the checkpoint. Tensors in blocks stand under their own names as rows of bytes. */
  readonly tensors: ReadonlyMap<string, GgufCheckpointTensor>;
}

/** Dense tensors in the layout of Hugging Face: rows of heads are put back where they were, read by whole heads. */
export function createGgufCheckpoint({ files, shards, tensors }: GgufCheckpointOptions): Checkpoint {
  const infos = new Map([...tensors].map(([name, { info }]) => [name, tensorInfo(name, info)] as const));
  const locate = (
    name: string,
  ): GgufCheckpointTensor & { readonly source: ByteSource; readonly found: TensorInfo } => {
    const tensor = tensors.get(name);
    const found = infos.get(name);
    if (tensor === undefined || found === undefined)
      throw new FormatError('the tensor is missing', {
        file: shards[0],
        tensor: name,
        advice: `the file holds ${tensors.size} tensors; check that it belongs to the config beside it`,
      });
    const source = files.get(tensor.info.file);
    if (source === undefined)
      throw new Bug(`internal: ${tensor.info.file} was there when its header was read`);
    return { ...tensor, source, found };
  };
  const readRange: Checkpoint['readRange'] = async (name, { offset, length }, signal) => {
    const { info, heads, source } = locate(name);
    const size = info.end - info.begin;
    if (!(offset >= 0 && length >= 0 && offset + length <= size))
      throw new FormatError(`bytes ${offset} to ${offset + length} asked for, the tensor has ${size}`, {
        file: info.file,
        tensor: name,
      });
    if (heads === undefined) return source.read(info.begin + offset, length, signal);
    const rowBytes = size / info.shape[0];
    const headBytes = heads.headDim * rowBytes;
    const first = Math.floor(offset / headBytes) * headBytes;
    const last = Math.ceil((offset + length) / headBytes) * headBytes;
    const bytes = await source.read(info.begin + first, last - first, signal);
    return restoreRows(bytes, rowBytes, heads.order).subarray(offset - first, offset - first + length);
  };
  return {
    tensors: infos,
    metadata: new Map(),
    unindexed: [],
    shards,
    info: (name) => locate(name).found,
    readRange,
    read: async (name, signal) =>
      readRange(name, { offset: 0, length: byteLength(locate(name).found) }, signal),
    stream: (name, options = {}) => {
      const { info, heads, source } = locate(name);
      if (heads === undefined) return streamChunks(source, info.begin, info.end - info.begin, options);
      return streamHeads({ name, info, headDim: heads.headDim, readRange, ...options });
    },
  };
}

function tensorInfo(name: string, { type, shape, file, begin, end }: GgufTensorInfo): TensorInfo {
  if (!isBlockType(type)) return { name, dtype: PLAIN_TYPES[type].dtype, shape, file, begin, end };
  const rows = product(shape.slice(0, -1));
  return { name, dtype: 'U8', shape: [rows, (end - begin) / rows], file, begin, end };
}

function byteLength({ dtype, shape }: TensorInfo): number {
  return product(shape) * DTYPE_BYTES[dtype];
}

/** File rows → checkpoint rows. */
function restoreRows(bytes: Uint8Array, rowBytes: number, order: RowOrder): Uint8Array {
  const out = new Uint8Array(bytes.byteLength);
  for (let row = 0; row * rowBytes < bytes.byteLength; row++)
    out.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), order(row) * rowBytes);
  return out;
}

interface HeadStream {
  readonly name: string;
  readonly info: GgufTensorInfo;
  readonly headDim: number;
  readonly readRange: Checkpoint['readRange'];
  readonly windowBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Windows of whole heads where one fits, so that no head is read twice; else windows as asked. */
async function* streamHeads(options: HeadStream): AsyncGenerator<Uint8Array, void, undefined> {
  const { name, info, headDim, readRange, windowBytes = DEFAULT_WINDOW_BYTES, signal } = options;
  const size = info.end - info.begin;
  const headBytes = (size / info.shape[0]) * headDim;
  const window = Math.floor(windowBytes / headBytes) * headBytes;
  const step = window === 0 ? windowBytes : window;
  for (let offset = 0; offset < size; offset += step)
    yield await readRange(name, { offset, length: Math.min(step, size - offset) }, signal);
}
