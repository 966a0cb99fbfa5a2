import { throwIfAborted } from '../core/abort.js';
import type { ByteSource } from './byte-source.js';
import { checkRange, shortReadError } from './byte-source.js';

/** A source over a Blob or File: what a browser hands out for dropped files, without reading them whole. */
export function createBlobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length, signal) {
      throwIfAborted(signal);
      checkRange(this, offset, length);
      const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.byteLength !== length) throw shortReadError(name, offset, length, bytes.byteLength);
      return bytes;
    },
  };
}
