import type { GgufBigType, GgufNumberType } from './gguf-value.js';

/** Ids of metadata value types (ggml's gguf_type). */
export const VALUE_TYPE_IDS = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

export type ValueTypeName = keyof typeof VALUE_TYPE_IDS;

/** Bytes of the types of fixed size. */
export const VALUE_BYTES: Readonly<Record<GgufNumberType | GgufBigType | 'bool', 1 | 2 | 4 | 8>> = {
  ...{ u8: 1, i8: 1, bool: 1 },
  ...{ u16: 2, i16: 2 },
  ...{ u32: 4, i32: 4, f32: 4 },
  ...{ u64: 8, i64: 8, f64: 8 },
};

/** Array item types of fixed size as the typed arrays that hold them. */
export const VALUE_ARRAYS = {
  u8: Uint8Array,
  i8: Int8Array,
  bool: Uint8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f64: Float64Array,
} as const;
