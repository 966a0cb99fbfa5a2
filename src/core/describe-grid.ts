import { f16ToF32, f32ToBf16, f32ToF16, bf16ToF32 } from './dtype.js';
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
        symmetric: linear.kind === 'affine' && linear.zeros.every((zero) => zero === 2 ** (bits - 1)),
        signed: scales.some((scale) => scale < 0),
        reordered: groupOf.some((group, k) => group !== Math.floor(k / groupSize)),
        scaleDType: narrowest(linear.kind === 'affine' ? [scales] : [scales, linear.mins]),
      };
    }
    default:
      return linear satisfies never;
  }
}

function narrowest(arrays: readonly Float32Array[]): 'F16' | 'BF16' | 'F32' {
  const all = (holds: (value: number) => boolean): boolean => arrays.every((array) => array.every(holds));
  if (all((value) => f16ToF32(f32ToF16(value)) === value)) return 'F16';
  if (all((value) => bf16ToF32(f32ToBf16(value)) === value)) return 'BF16';
  return 'F32';
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
