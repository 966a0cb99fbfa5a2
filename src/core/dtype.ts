/** The dtypes of safetensors files that halfbyte reads, with their width, and exact conversions to float32. */

export const DTYPE_BYTES = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** Names as they stand in safetensors headers. */
export type DType = keyof typeof DTYPE_BYTES;

export function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPE_BYTES, name);
}

const BITS_VIEW = new DataView(new ArrayBuffer(4));

export function bf16ToF32(bits: number): number {
  BITS_VIEW.setUint32(0, (bits << 16) >>> 0);
  return BITS_VIEW.getFloat32(0);
}

/** Round to nearest even; NaN stays NaN. */
export function f32ToBf16(value: number): number {
  BITS_VIEW.setFloat32(0, value);
  const bits = BITS_VIEW.getUint32(0);
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) | 0x40) & 0xffff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function f16ToF32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Round to nearest even, subnormals kept, overflow to infinity. */
export function f32ToF16(value: number): number {
  BITS_VIEW.setFloat32(0, value);
  const bits = BITS_VIEW.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const half = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0));
}

const ROUND_FLOATS = new Float32Array(1);
const ROUND_WORDS = new Uint32Array(ROUND_FLOATS.buffer);

/** The float32 value nearest to `value` that a float16 can hold. */
export function roundToF16(value: number): number {
  ROUND_FLOATS[0] = value;
  const bits = ROUND_WORDS[0];
  const magnitude = bits & 0x7fffffff;
  // Numbers that are normal as float16 lose 13 bits in place, ten times faster than by way of the 16 bits.
  if (magnitude < 0x38800000 || magnitude >= 0x477ff000) return f16ToF32(f32ToF16(value));
  ROUND_WORDS[0] = (bits + 0xfff + ((bits >>> 13) & 1)) & ~0x1fff;
  return ROUND_FLOATS[0];
}

/** OCP E4M3: no infinities, 0x7f and 0xff are NaN. */
export function f8e4m3ToF32(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >>> 3) & 0xf;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  if (exponent === 0) return sign * fraction * 2 ** -9;
  return sign * (1 + fraction / 8) * 2 ** (exponent - 7);
}

/** OCP E5M2: the top byte of a float16. */
export function f8e5m2ToF32(bits: number): number {
  return f16ToF32(bits << 8);
}
