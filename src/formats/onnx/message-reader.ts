/**
 * The reading half of Protocol Buffers. A long message is walked field by field through a window, so that weights inside
 * it are stepped over and never read; a short one is parsed in memory. Every length is held against the end of the message
 * that contains it before anything is sized by it.
 */
import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { decodeUtf8 } from '../../io/json.js';

export interface Field {
  readonly number: number;
  readonly wire: 0 | 1 | 2 | 5;
  /** Of wire type 0, as a signed 64-bit integer; rounded beyond 2^53. */
  readonly value: number;
  /** Where the content lies in the file. */
  readonly begin: number;
  readonly end: number;
}

/** A field with its content in memory. */
export interface LoadedField extends Field {
  readonly bytes: Uint8Array;
}

/** A piece of a file in memory. */
export interface Piece {
  readonly file: string;
  readonly bytes: Uint8Array;
  /** Where `bytes` begin in the file. */
  readonly offset: number;
}

const WINDOW_BYTES = 65536;
/** A key and a length: ten bytes each at most. */
const MAX_HEAD_BYTES = 20;
const MAX_VARINT_BYTES = 10;

/** The fields of a message that is in memory. FormatError naming file and offset where they do not fit together. */
export function* parseFields(piece: Piece): Generator<LoadedField> {
  const end = piece.offset + piece.bytes.byteLength;
  let at = piece.offset;
  while (at < end) {
    const field = parseHead(piece, at, end);
    yield { ...field, bytes: piece.bytes.subarray(field.begin - piece.offset, field.end - piece.offset) };
    at = field.end;
  }
}

/** The fields of the message in bytes [begin, end) of a file, without their content. Memory: one window. */
export async function* walkFields(
  source: ByteSource,
  { begin, end }: { readonly begin: number; readonly end: number },
  signal?: AbortSignal,
): AsyncGenerator<Field> {
  let window: Piece = { file: source.name, bytes: new Uint8Array(0), offset: begin };
  let at = begin;
  while (at < end) {
    const head = Math.min(MAX_HEAD_BYTES, end - at);
    const ready = at >= window.offset && at + head <= window.offset + window.bytes.byteLength;
    if (!ready)
      window = {
        ...window,
        bytes: await source.read(at, Math.min(WINDOW_BYTES, end - at), signal),
        offset: at,
      };
    const field = parseHead(window, at, end);
    yield field;
    at = field.end;
  }
}

/** The content of a counted field as a piece of its own. FormatError where it is longer than `maxBytes`. */
export async function loadField(
  source: ByteSource,
  field: Field,
  {
    maxBytes,
    what,
    signal,
  }: { readonly maxBytes: number; readonly what: string; readonly signal?: AbortSignal | undefined },
): Promise<Piece> {
  requireCounted(field, source.name, what);
  const length = field.end - field.begin;
  if (length > maxBytes)
    throw new FormatError(`${what} of ${length} bytes, at most ${maxBytes} expected`, {
      file: source.name,
      offset: field.begin,
    });
  return { file: source.name, bytes: await source.read(field.begin, length, signal), offset: field.begin };
}

export function requireCounted(field: Field, file: string, what: string): void {
  if (field.wire === 2) return;
  throw new FormatError(`${what}: wire type 2 expected, ${field.wire} found`, { file, offset: field.begin });
}

export function fieldText(field: LoadedField, file: string, what: string): string {
  requireCounted(field, file, what);
  return decodeUtf8(field.bytes, file, field.begin);
}

/** Integers of a repeated field, packed into one (wire type 2) or not. */
export function fieldIntegers(field: LoadedField, file: string): number[] {
  if (field.wire === 0) return [field.value];
  requireCounted(field, file, 'an integer');
  const piece = { file, bytes: field.bytes, offset: field.begin };
  const values: number[] = [];
  for (let at = field.begin; at < field.end;) {
    const { value, next } = varint(piece, at, field.end);
    values.push(value);
    at = next;
  }
  return values;
}

function parseHead(piece: Piece, at: number, end: number): Field {
  const key = varint(piece, at, end);
  const number = Math.floor(key.value / 8);
  const wire = key.value % 8;
  const fail = (message: string): never => {
    throw new FormatError(message, {
      file: piece.file,
      offset: at,
      advice: 'the file is damaged, or no ONNX model: fetch or make it again',
    });
  };
  if (number < 1) return fail(`field number ${number} in a message`);
  const spanOf = (begin: number, length: number, value = 0): Field => {
    if (!(length >= 0 && length <= end - begin))
      return fail(`field ${number} of ${length} bytes in a message with ${end - begin} left`);
    return { number, wire: wire as Field['wire'], value, begin, end: begin + length };
  };
  switch (wire) {
    case 0: {
      const { value, next } = varint(piece, key.next, end);
      return spanOf(key.next, next - key.next, value);
    }
    case 1:
      return spanOf(key.next, 8);
    case 2: {
      const length = varint(piece, key.next, end);
      return spanOf(length.next, length.value);
    }
    case 5:
      return spanOf(key.next, 4);
    default:
      return fail(`wire type ${wire} in field ${number}`);
  }
}

/** Seven bits a byte, least significant first, at most ten of them; the result is signed. */
function varint(piece: Piece, at: number, end: number): { readonly value: number; readonly next: number } {
  let low = 0;
  let scale = 1;
  let big = 0n;
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const position = at + i - piece.offset;
    if (at + i >= end || position >= piece.bytes.byteLength) break;
    const byte = piece.bytes[position];
    const bits = byte % 128;
    // Seven bytes fit a double exactly; longer ones (negative numbers, lies) take the slow way.
    if (i < 7) low += bits * scale;
    else big += BigInt(bits) << BigInt(7 * i);
    scale *= 128;
    if (byte < 128) {
      const value = i < 7 ? low : Number(BigInt.asIntN(64, big + BigInt(low)));
      return { value, next: at + i + 1 };
    }
  }
  throw new FormatError('an integer does not end', {
    file: piece.file,
    offset: at,
    advice: 'the file is truncated or damaged: fetch or make it again',
  });
}
