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
  const { inFeatures, outFeatures, bits, codes, scales } = linear;
  const groups = scales.length / outFeatures;
  const words = (inFeatures * bits) / 32;
  for (let i = 0; i < rows; i++) {
    const at = (first + i) * groups;
    const row = {
      codes: unpackCodes(codes, bits, inFeatures, (first + i) * words),
      groupOf: linear.groupOf,
      scales: scales.subarray(at, at + groups),
      out: out.subarray(i * inFeatures, (i + 1) * inFeatures),
    };
    if (linear.kind === 'affine') expandRow(row, linear.zeros.subarray(at, at + groups));
    else expandMinRow(row, linear.mins.subarray(at, at + groups));
  }
}

interface AffineRow {
  /** [K]. */
  readonly codes: Uint8Array;
  readonly groupOf: Uint32Array;
  /** [G]. */
  readonly scales: Float32Array;
  /** [K]. */
  readonly out: Float32Array;
}

function expandRow({ codes, groupOf, scales, out }: AffineRow, zeros: Uint8Array): void {
  for (let k = 0; k < out.length; k++) {
    const group = groupOf[k];
    out[k] = scales[group] * (codes[k] - zeros[group]);
  }
}

function expandMinRow({ codes, groupOf, scales, out }: AffineRow, mins: Float32Array): void {
  for (let k = 0; k < out.length; k++) {
    const group = groupOf[k];
    out[k] = Math.fround(scales[group] * codes[k]) + mins[group];
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
