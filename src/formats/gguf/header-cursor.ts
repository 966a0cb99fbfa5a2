/**
 * Reads a header front to back through a window, so that nothing is sized by a number the file claims: every length is
 * held against what is left of the file, and of the largest header there may be, before a byte of it is fetched.
 */
import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';

/** The largest published headers (vocabularies of 260,000 tokens with merges) stay below 20 MB. */
export const MAX_HEADER_BYTES = 128 * 1024 * 1024;
const WINDOW_BYTES = 1024 * 1024;

export interface HeaderCursor {
  /** Offset in the file of the next byte. */
  readonly position: number;
  /** Makes the next `bytes` bytes readable. FormatError when the file ends before, `what` in the message. */
  need(bytes: number, what: string): Promise<void>;
  /** Whether the next `bytes` bytes can be read without `need`. */
  has(bytes: number): boolean;
  /** FormatError unless `count` items of at least `itemBytes` can still follow; returns the count as a number. */
  count(count: bigint, itemBytes: number, what: string): number;
  u32(): number;
  u64(): bigint;
  /** A copy of the next `bytes` bytes, which must be there. */
  take(bytes: number): Uint8Array;
  /** The next `bytes` bytes as UTF-8. FormatError naming `what` where they are not. */
  text(bytes: number, what: string): string;
}

export function createHeaderCursor(source: ByteSource, signal?: AbortSignal): HeaderCursor {
  let window = new Uint8Array(0);
  let view = new DataView(window.buffer);
  let at = 0;
  let windowStart = 0;
  const limit = Math.min(source.size, MAX_HEADER_BYTES);
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const position = (): number => windowStart + at;

  const has = (bytes: number): boolean => at + bytes <= window.byteLength;
  const take = (bytes: number): Uint8Array => {
    at += bytes;
    return window.slice(at - bytes, at);
  };

  return {
    get position() {
      return position();
    },
    has,
    async need(bytes, what) {
      if (has(bytes)) return;
      const from = position();
      if (from + bytes > limit) throw tooFar(source, what, from);
      const length = Math.min(Math.max(bytes, WINDOW_BYTES), limit - from);
      window = new Uint8Array(await source.read(from, length, signal));
      view = new DataView(window.buffer);
      windowStart = from;
      at = 0;
    },
    count(count, itemBytes, what) {
      if (count <= BigInt(Math.floor((limit - position()) / itemBytes))) return Number(count);
      throw tooFar(source, `${what} (${count} declared)`, position());
    },
    u32() {
      at += 4;
      return view.getUint32(at - 4, true);
    },
    u64() {
      at += 8;
      return view.getBigUint64(at - 8, true);
    },
    take,
    text(bytes, what) {
      const offset = position();
      try {
        return utf8.decode(window.subarray(at, (at += bytes)));
      } catch (cause) {
        throw new FormatError(`${what} is not UTF-8`, { file: source.name, offset, cause });
      }
    },
  };
}

function tooFar(source: ByteSource, what: string, offset: number): FormatError {
  const end =
    source.size <= MAX_HEADER_BYTES
      ? `the end of the file at byte ${source.size}`
      : `byte ${MAX_HEADER_BYTES}, where every header has ended`;
  return new FormatError(`${what} reaches beyond ${end}`, {
    file: source.name,
    offset,
    advice: 'the file is truncated or damaged: download or make it again',
  });
}
