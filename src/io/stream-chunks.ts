import { throwIfAborted } from '../core/abort.js';
import { assert } from '../core/errors.js';
import type { ByteSource } from './byte-source.js';

/** Big enough that per-read cost vanishes on disk and over HTTP, small beside any tensor worth streaming. */
export const DEFAULT_WINDOW_BYTES = 8 * 1024 * 1024;

export interface StreamOptions {
  /** Most bytes per chunk. */
  readonly windowBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Bytes [offset, offset + length) as chunks of at most `windowBytes`, in order. Memory: one window; the next read
 * starts only when the consumer asks for it, and a chunk is never reused, so the consumer may keep it.
 */
export async function* streamChunks(
  source: ByteSource,
  offset: number,
  length: number,
  options: StreamOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const windowBytes = options.windowBytes ?? DEFAULT_WINDOW_BYTES;
  assert(windowBytes >= 1, `window of ${windowBytes} bytes`);
  for (let done = 0; done < length; done += windowBytes) {
    throwIfAborted(options.signal);
    yield await source.read(offset + done, Math.min(windowBytes, length - done), options.signal);
  }
}
