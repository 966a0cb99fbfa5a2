import { unpackCodes } from './code-stream.js';
import type {
  AffineLinear,
  AffineMinLinear,
  CodebookLinear,
  KQuantLinear,
  QuantizedLinear,
} from './quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from './quantized-linear.js';
import { CODEBOOKS } from './codebooks.js';

export interface RowRange {
  readonly first: number;
  readonly rows: number;
}

/**
 * The numbers a record stands for, f32 [rows, K], each operation rounded to float32 as readers of the formats do it. For
 * conversion and checks; engines have their own, faster ways.
 */
export function dequantizeLinear(
  linear: QuantizedLinear,
  range: RowRange = { first: 0, rows: linear.outFeatures },
): Float32Array {
  const out = new Float32Array(range.rows * linear.inFeatures);
  switch (linear.kind) {
    case 'affine':
    case 'affine-min':
      expandAffine(linear, range, out);
      return out;
    case 'codebook':
      expandCodebook(linear, range, out);
      return out;
    case 'k-quant':
      expandKQuant(linear, range, out);
      return out;
    default:
      return linear satisfies never;
  }
}

function expandAffine(
  linear: AffineLinear | AffineMinLinear,
  { first, rows }: RowRange,
  out: Float32Array,
): void {
  const { inFeatures, outFeatures, bits, codes, scales, groupOf } = linear;
  const groups = scales.length / outFeatures;
  const words = (inFeatures * bits) / 32;
  for (let i = 0; i < rows; i++) {
    const row = unpackCodes(codes, bits, inFeatures, (first + i) * words);
    for (let k = 0; k < inFeatures; k++) {
      const at = (first + i) * groups + groupOf[k];
      out[i * inFeatures + k] =
        linear.kind === 'affine'
          ? scales[at] * (row[k] - linear.zeros[at])
          : Math.fround(scales[at] * row[k]) + linear.mins[at];
    }
  }
}

function expandCodebook(linear: CodebookLinear, { first, rows }: RowRange, out: Float32Array): void {
  const { inFeatures, codes, absmax, blockSize } = linear;
  const table = CODEBOOKS[linear.codebook];
  const start = first * inFeatures;
  for (let i = 0; i < rows * inFeatures; i++) {
    const byte = codes[(start + i) >> 1];
    const code = (start + i) % 2 === 0 ? byte >> 4 : byte & 15;
    out[i] = table[code] * absmax[Math.floor((start + i) / blockSize)];
  }
}

function expandKQuant(linear: KQuantLinear, { first, rows }: RowRange, out: Float32Array): void {
  const { inFeatures, codes, d, dmin, scales, mins } = linear;
  const { bits, subBlock } = K_QUANTS[linear.type];
  const words = (inFeatures * bits) / 32;
  for (let i = 0; i < rows; i++) {
    const row = unpackCodes(codes, bits, inFeatures, (first + i) * words);
    for (let k = 0; k < inFeatures; k++) {
      const sub = ((first + i) * inFeatures + k - (k % subBlock)) / subBlock;
      const block = Math.floor(((first + i) * inFeatures + k) / SUPER_BLOCK);
      const scale = Math.fround(d[block] * scales[sub]);
      out[i * inFeatures + k] =
        linear.type === 'q6_k'
          ? scale * (row[k] - 32)
          : Math.fround(scale * row[k]) - Math.fround(dmin[block] * mins[sub]);
    }
  }
}
