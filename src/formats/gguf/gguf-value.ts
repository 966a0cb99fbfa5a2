/** A metadata value of a GGUF file with the type it is stored as (ggml's docs/gguf.md). */
export type GgufValue = GgufScalar | GgufArray;

export type GgufScalar =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: GgufBigType; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string };

/** Arrays of arrays do not exist: ggml refuses them. A reader gives typed arrays for numbers; bools are 0 and 1. */
export type GgufArray =
  | { readonly type: 'array'; readonly items: GgufNumberType | 'bool'; readonly values: ArrayLike<number> }
  | { readonly type: 'array'; readonly items: GgufBigType; readonly values: ArrayLike<bigint> }
  | { readonly type: 'array'; readonly items: 'string'; readonly values: readonly string[] };

export type GgufNumberType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64';
export type GgufBigType = 'u64' | 'i64';

/** Keys in file order. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>;
