/**
 * The tensor types of ggml by id (ggml/include/ggml.h, gguf-py gguf/constants.py): how many elements of a row share a
 * block, and its bytes. Types without a size are known by name only, to be refused by name.
 */
import type { DType } from '../../core/dtype.js';

/** Types whose values stand one by one, and the dtype that equals them. */
export const PLAIN_TYPES = {
  F32: { id: 0, dtype: 'F32', bytes: 4 },
  F16: { id: 1, dtype: 'F16', bytes: 2 },
  BF16: { id: 30, dtype: 'BF16', bytes: 2 },
  F64: { id: 28, dtype: 'F64', bytes: 8 },
  I8: { id: 24, dtype: 'I8', bytes: 1 },
  I16: { id: 25, dtype: 'I16', bytes: 2 },
  I32: { id: 26, dtype: 'I32', bytes: 4 },
  I64: { id: 27, dtype: 'I64', bytes: 8 },
} as const satisfies Record<string, { id: number; dtype: DType; bytes: number }>;

/** Quantized types that halfbyte reads; all but Q5_K can be written too. Scales and minima of 32-blocks are float16. */
export const BLOCK_TYPES = {
  Q4_0: { id: 2, elems: 32, bytes: 18 },
  Q4_1: { id: 3, elems: 32, bytes: 20 },
  Q5_0: { id: 6, elems: 32, bytes: 22 },
  Q5_1: { id: 7, elems: 32, bytes: 24 },
  Q8_0: { id: 8, elems: 32, bytes: 34 },
  Q4_K: { id: 12, elems: 256, bytes: 144 },
  Q5_K: { id: 13, elems: 256, bytes: 176 },
  Q6_K: { id: 14, elems: 256, bytes: 210 },
} as const;

export type PlainType = keyof typeof PLAIN_TYPES;
export type BlockType = keyof typeof BLOCK_TYPES;
export type TensorType = PlainType | BlockType;

/** Types that exist and that halfbyte cannot read. */
const FOREIGN_TYPES: ReadonlyMap<number, string> = new Map([
  [9, 'Q8_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [29, 'IQ1_M'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
  [40, 'NVFP4'],
  [41, 'Q1_0'],
]);

const TYPES_BY_ID: ReadonlyMap<number, TensorType> = new Map(
  [...Object.entries(PLAIN_TYPES), ...Object.entries(BLOCK_TYPES)].map(
    ([name, { id }]) => [id, name as TensorType] as const,
  ),
);

/** The type of an id: one that halfbyte reads, the name of one that it does not, or undefined where ggml has none. */
export function tensorTypeOf(
  id: number,
): { readonly known: TensorType } | { readonly foreign: string } | undefined {
  const known = TYPES_BY_ID.get(id);
  if (known !== undefined) return { known };
  const foreign = FOREIGN_TYPES.get(id);
  return foreign === undefined ? undefined : { foreign };
}

export function isBlockType(type: TensorType): type is BlockType {
  return Object.hasOwn(BLOCK_TYPES, type);
}

/** Elements of a row that share one block; 1 for plain types. */
export function blockElems(type: TensorType): number {
  return isBlockType(type) ? BLOCK_TYPES[type].elems : 1;
}

export function tensorTypeId(type: TensorType): number {
  return isBlockType(type) ? BLOCK_TYPES[type].id : PLAIN_TYPES[type].id;
}

/** Bytes of `elems` elements of a row; `elems` is a multiple of the block. */
export function rowBytes(type: TensorType, elems: number): number {
  return isBlockType(type)
    ? (elems / BLOCK_TYPES[type].elems) * BLOCK_TYPES[type].bytes
    : elems * PLAIN_TYPES[type].bytes;
}
