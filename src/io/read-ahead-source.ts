import type { ByteSource } from './byte-source.js';
import { checkRange } from './byte-source.js';

interface Window {
  readonly offset: number;
  readonly bytes: Promise<Uint8Array>;
  readonly length: number;
}

/**
 * Coalesces many small, nearly sequential reads into few big ones: a read of less than `windowBytes` fetches a whole
 * window from its offset on, and later reads inside that window cost nothing. Bigger reads pass through.
 * Memory: one window.
 */
export function withReadAhead(source: ByteSource, windowBytes: number): ByteSource {
  let window: Window | undefined;

  const fill = (offset: number, signal: AbortSignal | undefined): Window => {
    const length = Math.min(windowBytes, source.size - offset);
    const filled: Window = { offset, length, bytes: source.read(offset, length, signal) };
    window = filled;
    // A failed or aborted window must not be served to the next reader; this reader sees the failure through `bytes`.
    filled.bytes.catch(() => {
      if (window === filled) window = undefined;
    });
    return filled;
  };

  return {
    name: source.name,
    size: source.size,
    async read(offset, length, signal) {
      checkRange(source, offset, length);
      if (length >= windowBytes) return source.read(offset, length, signal);
      const inside =
        window !== undefined && offset >= window.offset && offset + length <= window.offset + window.length;
      const from = inside && window !== undefined ? window : fill(offset, signal);
      const bytes = await from.bytes;
      return bytes.slice(offset - from.offset, offset - from.offset + length);
    },
  };
}
