import type { ByteSource } from '../../src/io/byte-source.js';
import { concatBytes } from '../../src/io/byte-views.js';
import { createMemorySource } from '../../src/io/memory-source.js';

/** A safetensors file from its header text and data, right or wrong. */
export function rawFile(header: string, data: Uint8Array = new Uint8Array(0), declared?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header);
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, declared ?? BigInt(text.byteLength), true);
  return concatBytes([prefix, text, data]);
}

/** One header entry as JSON text. */
export function entry(dtype: string, shape: readonly number[], offsets: readonly number[]): string {
  return JSON.stringify({ dtype, shape, data_offsets: offsets });
}

export interface CountingSource extends ByteSource {
  /** Every read, in order. */
  readonly reads: { offset: number; length: number }[];
}

/** Records what is read: the proof of every memory claim. */
export function countReads(source: ByteSource): CountingSource {
  const reads: { offset: number; length: number }[] = [];
  return {
    name: source.name,
    size: source.size,
    reads,
    read: (offset, length, signal) => {
      reads.push({ offset, length });
      return source.read(offset, length, signal);
    },
  };
}

export function memoryFiles(files: Record<string, Uint8Array | string>): Map<string, ByteSource> {
  return new Map(
    Object.entries(files).map(([name, content]) => [
      name,
      createMemorySource(name, typeof content === 'string' ? new TextEncoder().encode(content) : content),
    ]),
  );
}
