/**
 * Raw little-endian elements from one float dtype to another, at memory speed: a loader turns elements into float32 bits, a
 * storer rounds those, over chunks that stay in the cache. Memory: the result, and 128 KiB.
 */
import { DTYPE_BYTES, f16ToF32, f8e4m3ToF32 } from './dtype.js';

export type CastSource = 'F64' | 'F32' | 'F16' | 'BF16' | 'F8_E4M3' | 'F8_E5M2';
export type CastTarget = 'F32' | 'F16' | 'BF16';

const CAST_SOURCES: ReadonlySet<string> = new Set(['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2']);

export function isCastSource(dtype: string): dtype is CastSource {
  return CAST_SOURCES.has(dtype);
}

/**
 * The elements of `bytes` (any alignment) as `to`: round to nearest even, infinities and NaN kept, beyond the largest value
 * infinity. F64 goes through float32 as PyTorch does it. Of equal dtypes the result is `bytes` itself, not a copy.
 * RangeError where `bytes` does not end with an element.
 */
export function castElements(bytes: Uint8Array, from: CastSource, to: CastTarget): Uint8Array {
  if (from === to) return bytes;
  const width = DTYPE_BYTES[from];
  const count = bytes.byteLength / width;
  if (!Number.isInteger(count)) {
    throw new RangeError(`${bytes.byteLength} bytes are not whole ${from} elements of ${width} bytes`);
  }
  if (to === 'F32') {
    const wide = new Uint32Array(count);
    load(aligned(bytes, width), from, wide);
    return new Uint8Array(wide.buffer);
  }
  const narrow = new Uint16Array(count);
  const stage = from === 'F32' ? undefined : new Uint32Array(Math.min(count, CHUNK_ELEMS));
  for (let at = 0; at < count; at += CHUNK_ELEMS) {
    const elems = Math.min(CHUNK_ELEMS, count - at);
    const part = aligned(bytes.subarray(at * width, (at + elems) * width), width);
    const bits = stage?.subarray(0, elems) ?? new Uint32Array(part.buffer, part.byteOffset, elems);
    if (stage !== undefined) load(part, from, bits);
    if (to === 'F16') storeF16(bits, narrow, at);
    else storeBf16(bits, narrow, at);
  }
  return new Uint8Array(narrow.buffer);
}

const CHUNK_ELEMS = 32768;

/** The bytes themselves, or a copy where a typed array of such elements could not begin there. */
function aligned(bytes: Uint8Array, width: number): Uint8Array {
  return bytes.byteOffset % width === 0 ? bytes : bytes.slice();
}

const F16_BITS = Uint32Array.from({ length: 65536 }, (_, half) => widenHalf(half));
const F8_E4M3_BITS = new Uint32Array(
  Float32Array.from({ length: 256 }, (_, code) => f8e4m3ToF32(code)).buffer,
);

/** float32 bits of a float16, payloads of NaN kept. */
function widenHalf(half: number): number {
  const sign = (half & 0x8000) * 65536;
  const exponent = (half >>> 10) & 31;
  if (exponent === 31) return sign + 0x7f800000 + (half & 0x3ff) * 8192;
  if (exponent > 0) return sign + 0x38000000 + (half & 0x7fff) * 8192;
  return sign + new Uint32Array(Float32Array.of(f16ToF32(half & 0x3ff)).buffer)[0];
}

function load(bytes: Uint8Array, from: CastSource, bits: Uint32Array): void {
  const { buffer, byteOffset } = bytes;
  const count = bits.length;
  switch (from) {
    case 'F64':
      new Float32Array(bits.buffer, bits.byteOffset, count).set(new Float64Array(buffer, byteOffset, count));
      return;
    case 'F32':
      bits.set(new Uint32Array(buffer, byteOffset, count));
      return;
    case 'F16':
      loadTable(new Uint16Array(buffer, byteOffset, count), F16_BITS, bits);
      return;
    case 'BF16': {
      const values = new Uint16Array(buffer, byteOffset, count);
      for (let i = 0; i < count; i++) bits[i] = values[i] << 16;
      return;
    }
    case 'F8_E4M3':
      loadTable(bytes, F8_E4M3_BITS, bits);
      return;
    case 'F8_E5M2':
      for (let i = 0; i < count; i++) bits[i] = F16_BITS[bytes[i] << 8];
      return;
    default:
      from satisfies never;
  }
}

function loadTable(codes: Uint16Array | Uint8Array, table: Uint32Array, bits: Uint32Array): void {
  for (let i = 0; i < bits.length; i++) bits[i] = table[codes[i]];
}

function storeBf16(bits: Uint32Array, out: Uint16Array, at: number): void {
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i] | 0;
    const isNaN = (x & 0x7fffffff) > 0x7f800000;
    out[at + i] = isNaN ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
}

/** As f32ToF16 of dtype.ts, with the common case, a normal half, first. */
function storeF16(bits: Uint32Array, out: Uint16Array, at: number): void {
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i] | 0;
    const magnitude = x & 0x7fffffff;
    const sign = (x >>> 16) & 0x8000;
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000) {
      const rebased = magnitude - 0x38000000;
      out[at + i] = sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
    } else if (magnitude < 0x33000000) out[at + i] = sign;
    else if (magnitude < 0x38800000) out[at + i] = sign | subnormalHalf(magnitude);
    else out[at + i] = sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  }
}

/** Multiples of 2⁻²⁴, to nearest even; `magnitude` between 2⁻²⁵ and 2⁻¹⁴. */
function subnormalHalf(magnitude: number): number {
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const half = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0);
}
