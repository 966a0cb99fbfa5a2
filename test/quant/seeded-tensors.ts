import { CODEBOOKS } from '../../src/core/codebooks.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../src/core/dtype.js';
import type { DenseDType } from '../../src/engine/tensor.js';

/** The tensors of scripts/fixtures/bitsandbytes_golden.py, bit for bit: integer hashes and exact arithmetic. */
export const KINDS = [
  'bell',
  'outliers',
  'zeros',
  'denormals',
  'constant',
  'huge-outliers',
  'huge',
  'patterns',
  'bounds',
  'tiny',
] as const;

export type Kind = (typeof KINDS)[number];

function word(seed: number, salt: number, index: number): number {
  let x = (Math.imul(index, 0x9e3779b1) + ((seed * 0x10001 + salt * 0x3c6ef372) % 2 ** 32)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** In (−2, 2): the sum of four uniform numbers of 24 bits. */
export function bell(seed: number, index: number): number {
  let sum = -2;
  for (let salt = 0; salt < 4; salt++) sum += (word(seed, salt, index) >>> 8) / 2 ** 24;
  return sum;
}

export function shapeOf(seed: number): readonly [rows: number, columns: number] {
  const pick = word(seed, 99, 1);
  return [1 + (word(seed, 99, 0) % 40), seed % 7 === 0 ? 64 * (1 + (pick % 5)) : 1 + (pick % 300)];
}

/** Tensor number `seed` as elements of `dtype`, f16 and bf16 as raw bits. */
export function seededTensor(seed: number, dtype: DenseDType): Float32Array | Uint16Array {
  const [rows, columns] = shapeOf(seed);
  const kind = KINDS[seed % KINDS.length];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => valueOf(seed, kind, i));
  if (dtype === 'f32') return values;
  if (dtype === 'f16')
    return Uint16Array.from(values, (value) => f32ToF16(Math.max(-65504, Math.min(65504, value))));
  const limit = bf16ToF32(0x7f7f);
  return Uint16Array.from(values, (value) => f32ToBf16(Math.max(-limit, Math.min(limit, value))));
}

/** The elements as float32. */
export function widened(values: Float32Array | Uint16Array, dtype: DenseDType): Float32Array {
  if (dtype === 'f32') return Float32Array.from(values);
  return Float32Array.from(values, dtype === 'f16' ? f16ToF32 : bf16ToF32);
}

function valueOf(seed: number, kind: Kind, index: number): number {
  const extra = word(seed, 7, index);
  const base = bell(seed, index);
  switch (kind) {
    case 'bell':
      return base * 0.05;
    case 'outliers':
      return extra % 97 === 0 ? base * 20 : base * 0.02;
    case 'zeros':
      return Math.floor(index / 64) % 3 === 0 || extra % 5 === 0 ? 0 : base;
    case 'denormals':
      return floatOf(extra & 0x800fffff);
    case 'constant':
      return seed % 20 === 4 ? -0.37 : 0.37;
    case 'huge-outliers':
      return extra % 61 === 0 ? base * 1e36 : base;
    case 'huge':
      return base * 1.5e38;
    case 'patterns':
      return floatOf((extra & 0x807fffff) | ((((extra >>> 23) % 241) << 23) >>> 0));
    case 'bounds':
      return nearBound(seed, extra, index);
    case 'tiny':
      return base * 1e-38;
  }
}

function nearBound(seed: number, extra: number, index: number): number {
  const scale = Math.fround(0.7 + seed / 64);
  if (index % 32 === 0) return scale;
  const table = CODEBOOKS[((extra >>> 8) & 1) === 0 ? 'nf4' : 'fp4'].slice().sort();
  const at = extra % 15;
  const exact = Math.fround(Math.fround(Math.fround(table[at] + table[at + 1]) / 2) * scale);
  if (exact === 0) return 0;
  return floatOf(new Int32Array(Float32Array.of(exact).buffer)[0] + (((extra >>> 16) % 5) - 2));
}

function floatOf(bits: number): number {
  return new Float32Array(Int32Array.of(bits).buffer)[0];
}
