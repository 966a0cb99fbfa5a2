import type { FormatErrorDetails } from '../core/errors.js';
import { FormatError } from '../core/errors.js';

/**
 * A thing of known size whose bytes can be read in any order: a file, a URL, a piece of memory. Readers never know
 * which. Offsets and lengths are bytes and safe integers, so files beyond 4 GiB need no special case.
 */
export interface ByteSource {
  /** Path or URL, as errors should show it. */
  readonly name: string;
  /** Bytes; fixed for the life of the source. */
  readonly size: number;
  /**
   * Bytes [offset, offset + length), always exactly `length` of them and owned by the caller.
   * FormatError when the range lies outside the source or the bytes are not there; FetchError when a server fails.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** As `read`, into all of `target`, for those who read much and keep nothing. Optional: see `readInto`. */
  readInto?(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
}

/** Reads bytes from `offset` on into all of `target`; by way of a copy where the source knows no better. */
export async function readInto(
  source: ByteSource,
  offset: number,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  if (source.readInto !== undefined) await source.readInto(offset, target, signal);
  else target.set(await source.read(offset, target.byteLength, signal));
}

/** Throws FormatError unless [offset, offset + length) lies inside the source. Every implementation calls it first. */
export function checkRange(source: Pick<ByteSource, 'name' | 'size'>, offset: number, length: number): void {
  const valid =
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(length) &&
    offset >= 0 &&
    length >= 0 &&
    offset + length <= source.size;
  if (valid) return;
  throw new FormatError(
    `bytes ${offset} to ${offset + length} asked for, the file has ${source.size} bytes`,
    truncationDetails(source.name, Number.isSafeInteger(offset) ? offset : undefined),
  );
}

/** The error of a source that delivered `actual` instead of `expected` bytes. */
export function shortReadError(name: string, offset: number, expected: number, actual: number): FormatError {
  return new FormatError(`${expected} bytes expected, ${actual} delivered`, truncationDetails(name, offset));
}

function truncationDetails(file: string, offset: number | undefined): FormatErrorDetails {
  const advice = 'the file is truncated or was changed while it was read: download or copy it again';
  return offset === undefined ? { file, advice } : { file, advice, offset };
}
