/**
 * What a quantizer hands out and a file format packs: the codes of one linear layer [N, K] and what turns them back into
 * numbers, on the host. Quantizers know no format, formats no quantizer; these records are all they share.
 */

/** Bits per code of the affine grids. */
export type Bits = 2 | 3 | 4 | 5 | 6 | 8;

interface LinearShape {
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
}

interface AffineCodes extends LinearShape {
  readonly bits: Bits;
  /** Columns per group; equals inFeatures for per-channel grids. */
  readonly groupSize: number;
  /** [N, K·bits/32], codes of a row as one bit stream, least significant bits first. */
  readonly codes: Uint32Array;
  /** [N, G]; may be negative. */
  readonly scales: Float32Array;
  /** [K]: group of each input column (GPTQ's g_idx). */
  readonly groupOf: Uint32Array;
}

/** value = scale·(code − zero). */
export interface AffineLinear extends AffineCodes {
  readonly kind: 'affine';
  /** [N, G], 0 … 2^bits − 1. */
  readonly zeros: Uint8Array;
}

/** value = scale·code + min. */
export interface AffineMinLinear extends AffineCodes {
  readonly kind: 'affine-min';
  /** [N, G], any real numbers. */
  readonly mins: Float32Array;
}

export type CodebookName = 'nf4' | 'fp4';

/** value = codebook[code]·absmax[block], blocks along the flattened row-major matrix, straight through row ends. */
export interface CodebookLinear extends LinearShape {
  readonly kind: 'codebook';
  readonly codebook: CodebookName;
  /** Elements per block; the last block may be short. */
  readonly blockSize: number;
  /** [⌈N·K/2⌉]: two codes a byte, the first in the high nibble. */
  readonly codes: Uint8Array;
  /** [⌈N·K/blockSize⌉] as a reader gets it, so after double quantization where there is one. */
  readonly absmax: Float32Array;
  /** Double quantization: absmax[i] = dynamicMap[codes[i]]·absmax[⌊i/blockSize⌋] + offset. */
  readonly nested?: {
    readonly blockSize: 256;
    readonly codes: Uint8Array;
    readonly absmax: Float32Array;
    readonly offset: number;
  };
}

/**
 * llama.cpp's super-blocks of 256 columns. q4_k: value = (d·scale)·code − (dmin·min), sub-blocks of 32;
 * q6_k: value = d·scale·(code − 32), sub-blocks of 16.
 */
export interface KQuantLinear extends LinearShape {
  readonly kind: 'k-quant';
  readonly type: KQuantType;
  /** [N, K·bits/32] as in AffineLinear; 4 bits for q4_k, 6 for q6_k. */
  readonly codes: Uint32Array;
  /** [N, K/256], float16 values. */
  readonly d: Float32Array;
  /** q4_k: [N, K/256], float16 values; q6_k: empty. */
  readonly dmin: Float32Array;
  /** q4_k: [N, K/32], 0 … 63; q6_k: [N, K/16], −128 … 127. */
  readonly scales: Int8Array;
  /** q4_k: [N, K/32], 0 … 63; q6_k: empty. */
  readonly mins: Uint8Array;
}

export type KQuantType = 'q4_k' | 'q6_k';

export type QuantizedLinear = AffineLinear | AffineMinLinear | CodebookLinear | KQuantLinear;

/** How a quantizer finds scale and offset of a group; what a target file can hold decides which. */
export type GridRule =
  /** zero = 2^(bits−1), scale = 2·max|w|/(2^bits − 1): GPTQ's symmetric grid. */
  | 'symmetric'
  /** zero = round(−lo/scale), an integer; scale = (hi − lo)/(2^bits − 1). */
  | 'asymmetric'
  /** zero = 2^(bits−1), scale = −m/2^(bits−1) with m the element of largest magnitude, sign kept (Q4_0, Q5_0, Q8_0). */
  | 'signed'
  /** value = scale·code + min with a float16 min (Q4_1). */
  | 'min'
  /** Super-blocks of 256 with 6-bit scales and minima (Q4_K). */
  | 'q4_k'
  /** Super-blocks of 256 with 8-bit scales (Q6_K). */
  | 'q6_k';

/** A grid to quantize onto. */
export interface GridSpec {
  readonly rule: GridRule;
  readonly bits: Bits;
  /** Columns per group; −1 for one group per output channel. q4_k: 32, q6_k: 16. */
  readonly groupSize: number;
}

/** A grid as file formats judge it: the smallest set of facts that decides whether a format can hold it exactly. */
export type Grid =
  | {
      readonly kind: 'affine' | 'affine-min';
      readonly bits: Bits;
      /** Columns per group, never −1. */
      readonly groupSize: number;
      /** Every zero is 2^(bits−1). */
      readonly symmetric: boolean;
      /** Scales may be negative. */
      readonly signed: boolean;
      /** Groups are not runs of columns: groupOf must be followed. */
      readonly reordered: boolean;
      /** Narrowest dtype that holds every scale and min. */
      readonly scaleDType: 'F16' | 'BF16' | 'F32';
    }
  | {
      readonly kind: 'codebook';
      readonly codebook: CodebookName;
      readonly blockSize: number;
      readonly nested: boolean;
    }
  | { readonly kind: 'k-quant'; readonly type: KQuantType };

/** Codes per super-block and per sub-block of k-quants, and their width. */
export const K_QUANTS: Readonly<Record<KQuantType, { readonly bits: 4 | 6; readonly subBlock: 16 | 32 }>> = {
  q4_k: { bits: 4, subBlock: 32 },
  q6_k: { bits: 6, subBlock: 16 },
};
export const SUPER_BLOCK = 256;
