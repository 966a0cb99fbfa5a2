import { f16ToF32, f32ToF16 } from './dtype.js';
import type { Grid, QuantizedLinear } from './quantized-linear.js';

/** The facts by which a format decides whether it can hold this record. */
export function gridOf(linear: QuantizedLinear): Grid {
  switch (linear.kind) {
    case 'codebook': {
      const { kind, codebook, blockSize, nested } = linear;
      return { kind, codebook, blockSize, nested: nested !== undefined };
    }
    case 'k-quant':
      return { kind: linear.kind, type: linear.type };
    case 'affine':
    case 'affine-min': {
      const { kind, bits, groupSize, groupOf, scales } = linear;
      return {
        kind,
        bits,
        groupSize,
        symmetric: linear.kind === 'affine' && allEqual(linear.zeros, 2 ** (bits - 1)),
        signed: anyNegative(scales),
        reordered: groupOf.some((group, k) => group !== Math.floor(k / groupSize)),
        scaleDType: narrowest(linear.kind === 'affine' ? [scales] : [scales, linear.mins]),
      };
    }
    default:
      return linear satisfies never;
  }
}

// Plain loops: there is a scale for every 16 to 1024 weights, and callbacks cost as much as rounding those.

function allEqual(zeros: Uint8Array, zero: number): boolean {
  for (let i = 0; i < zeros.length; i++) if (zeros[i] !== zero) return false;
  return true;
}

function anyNegative(scales: Float32Array): boolean {
  for (let i = 0; i < scales.length; i++) if (scales[i] < 0) return true;
  return false;
}

function narrowest(arrays: readonly Float32Array[]): 'F16' | 'BF16' | 'F32' {
  if (arrays.every(holdsF16)) return 'F16';
  return arrays.every(holdsBf16) ? 'BF16' : 'F32';
}

/** Whether every number is a float16 one. NaN is not. */
function holdsF16(values: Float32Array): boolean {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i] & 0x7fffffff;
    // Normal as float16 and no bit below its ten; everything else is asked the long way.
    if ((magnitude & 0x1fff) === 0 && magnitude >= 0x38800000 && magnitude < 0x47800000) continue;
    if (f16ToF32(f32ToF16(values[i])) !== values[i]) return false;
  }
  return true;
}

function holdsBf16(values: Float32Array): boolean {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++)
    if ((words[i] & 0xffff) !== 0 || Number.isNaN(values[i])) return false;
  return true;
}

/** A grid in the words of people, such as "4-bit symmetric, group 128". */
export function gridText(grid: Grid): string {
  switch (grid.kind) {
    case 'codebook':
      return `${grid.codebook} in blocks of ${grid.blockSize}${grid.nested ? ', double quantization' : ''}`;
    case 'k-quant':
      return grid.type;
    case 'affine':
    case 'affine-min': {
      const zero =
        grid.kind === 'affine-min' ? 'with real minima' : grid.symmetric ? 'symmetric' : 'asymmetric';
      const sign = grid.signed ? ', signed scales' : '';
      const order = grid.reordered ? ', act-order groups' : '';
      return `${grid.bits}-bit ${zero}, group ${grid.groupSize}${sign}${order}, ${grid.scaleDType} scales`;
    }
    default:
      return grid satisfies never;
  }
}
