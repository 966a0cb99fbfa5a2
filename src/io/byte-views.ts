import { assert } from '../core/errors.js';

/**
 * Views between typed arrays and file bytes. Every format here is little-endian, and so is every platform that WebGPU
 * and Node's release builds run on; the views below rely on it.
 */
export interface TypedArrayConstructor<T> {
  new (buffer: ArrayBuffer, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
}

/** The bytes of a typed array, without copying. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** `bytes` as elements of another width: a view where alignment allows, else a copy. */
export function viewBytes<T>(bytes: Uint8Array, type: TypedArrayConstructor<T>): T {
  const width = type.BYTES_PER_ELEMENT;
  assert(bytes.byteLength % width === 0, `${bytes.byteLength} bytes viewed as elements of ${width}`);
  const aligned =
    bytes.buffer instanceof ArrayBuffer && bytes.byteOffset % width === 0
      ? { buffer: bytes.buffer, offset: bytes.byteOffset }
      : { buffer: new Uint8Array(bytes).buffer, offset: 0 };
  return new type(aligned.buffer, aligned.offset, bytes.byteLength / width);
}

/** All chunks as one array. */
export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    all.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return all;
}
