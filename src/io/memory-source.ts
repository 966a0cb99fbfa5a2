import { throwIfAborted } from '../core/abort.js';
import type { ByteSource } from './byte-source.js';
import { checkRange } from './byte-source.js';

/** A source over bytes in memory; reads are copies, so a caller may change what it got. */
export function createMemorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length, signal) {
      throwIfAborted(signal);
      checkRange(this, offset, length);
      return Promise.resolve(bytes.slice(offset, offset + length));
    },
  };
}

/** A source over a text, as UTF-8. */
export function createTextSource(name: string, text: string): ByteSource {
  return createMemorySource(name, new TextEncoder().encode(text));
}
