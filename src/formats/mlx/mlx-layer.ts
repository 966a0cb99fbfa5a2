/**
 * One linear layer (or embedding) between the record of core/ and the three tensors of MLX: value = scale·code + bias,
 * codes of a row as the same bit stream as the record's. A grid with integer zero points has bias = −scale·zero.
 * Source of the layout: mlx mlx/ops.cpp (quantize, dequantize), python/mlx/nn/layers/quantized.py. Memory: input plus output.
 */
import { castElements } from '../../core/cast-elements.js';
import { FormatError } from '../../core/errors.js';
import type { AffineLinear, AffineMinLinear, Grid } from '../../core/quantized-linear.js';
import { bytesOf, viewBytes } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { StoredTensor } from '../stored-tensor.js';
import { checkDType, realsOf, wordsOf } from '../stored-tensor.js';
import type { MlxGrid } from './mlx-config.js';
import { isMlxBits, isMlxGroupSize, MLX_BITS, MLX_GROUP_SIZES } from './mlx-config.js';

/** Codes fill words only by 32. */
const PACKING_MULTIPLE = 32;

export type MlxScaleDType = 'F16' | 'BF16' | 'F32';

/** The tensors of a layer as they stand in the file; G groups of g columns. */
export interface MlxTensors {
  /** U32 [N, K·bits/32]. */
  readonly weight: Uint32Array;
  /** [N, G], bytes of the dtype asked for. */
  readonly scales: Uint8Array;
  /** [N, G], of the same dtype. */
  readonly biases: Uint8Array;
}

interface LayerShape {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly bits: number;
  readonly groupSize: number;
}

/** Why a layer of this shape cannot be stored, every reason. */
export function mlxShapeProblems({ outFeatures, inFeatures, bits, groupSize }: LayerShape): string[] {
  return [
    ...(isMlxBits(bits) ? [] : [`mlx holds ${MLX_BITS.join(', ')} bits, not ${bits}`]),
    ...(isMlxGroupSize(groupSize)
      ? []
      : [`mlx holds groups of ${MLX_GROUP_SIZES.join(', ')} columns, not of ${groupSize}`]),
    ...(outFeatures >= 1 ? [] : [`out_features ${outFeatures} is not positive`]),
    ...(inFeatures >= 1 && inFeatures % PACKING_MULTIPLE === 0 && inFeatures % groupSize === 0
      ? []
      : [`in_features ${inFeatures} is not a multiple of the group size ${groupSize}`]),
  ];
}

/**
 * Dtype in which scales and biases of such a grid are exact. The product of a float16 or bfloat16 scale with an integer
 * zero needs float32, except with a power of two, the zero of symmetric grids. Undefined where float32 is not enough.
 */
export function mlxScaleDType(
  grid: Extract<Grid, { kind: 'affine' | 'affine-min' }>,
): MlxScaleDType | undefined {
  if (grid.kind === 'affine-min' || grid.symmetric) return grid.scaleDType;
  return grid.scaleDType === 'F32' ? undefined : 'F32';
}

/**
 * Record → file tensors with scales and biases of `dtype`. FormatError naming the layer, listing all that the layout
 * cannot hold: widths, group sizes, reordered groups, numbers that `dtype` does not hold exactly.
 */
export function encodeMlxLayer(
  linear: AffineLinear | AffineMinLinear,
  name: string,
  dtype: MlxScaleDType,
): MlxTensors {
  const scales = castElements(bytesOf(linear.scales), 'F32', dtype);
  const biasValues = linear.kind === 'affine' ? biasesOf(linear) : Float64Array.from(linear.mins);
  const biases = castElements(bytesOf(Float32Array.from(biasValues)), 'F32', dtype);
  const problems = [
    ...recordProblems(linear),
    ...inexact('scale', Float64Array.from(linear.scales), scales, dtype),
    ...inexact('bias', biasValues, biases, dtype),
  ];
  if (problems.length > 0) {
    throw new FormatError(`mlx cannot hold these codes:${listOffenders(problems)}`, {
      file: 'MLX layer',
      tensor: name,
      advice: 'choose another format, or quantize again onto groups of 32, 64 or 128 columns',
    });
  }
  return { weight: linear.codes, scales, biases };
}

/** −scale·zero in float64, where it is exact; +0 for zero points of 0. */
function biasesOf({ scales, zeros }: AffineLinear): Float64Array {
  return Float64Array.from(scales, (scale, i) => 0 - scale * zeros[i]);
}

function recordProblems(linear: AffineLinear | AffineMinLinear): string[] {
  const { outFeatures, inFeatures, bits, groupSize, groupOf, codes, scales } = linear;
  const offsets = linear.kind === 'affine' ? linear.zeros.length : linear.mins.length;
  const cells = (outFeatures * inFeatures) / groupSize;
  const words = (outFeatures * inFeatures * bits) / 32;
  const reordered = groupOf.findIndex((group, k) => group !== Math.floor(k / groupSize));
  return [
    ...mlxShapeProblems(linear),
    ...(codes.length === words ? [] : [`${codes.length} words of codes, ${words} expected`]),
    ...(scales.length === cells && offsets === cells
      ? []
      : [`${scales.length} scales and ${offsets} offsets, ${cells} expected`]),
    ...(groupOf.length === inFeatures ? [] : [`${groupOf.length} group indices for ${inFeatures} columns`]),
    ...(reordered < 0
      ? []
      : [`column ${reordered} is in group ${groupOf[reordered]}, groups must be runs of columns`]),
  ];
}

/** The first value that is not finite or not the one stored. */
function inexact(what: string, values: Float64Array, bytes: Uint8Array, dtype: MlxScaleDType): string[] {
  const stored = viewBytes(castElements(bytes, dtype, 'F32'), Float32Array);
  // Written so that NaN and infinity fail as well.
  const bad = values.findIndex((value, i) => !(stored[i] - value === 0));
  return bad < 0 ? [] : [`${what} ${values[bad]} at element ${bad} is no finite ${dtype} number`];
}

export interface StoredMlxLayer {
  /** U32. */
  readonly weight: StoredTensor;
  /** F16, BF16 or F32, as are the biases. */
  readonly scales: StoredTensor;
  readonly biases: StoredTensor;
}

/**
 * File tensors → record: with integer zero points where every bias is −scale·zero exactly (so that other formats can hold
 * it), else with real minima. FormatError names file, tensor and offset: dtypes, shapes that do not fit together, scales
 * and biases that are not finite.
 */
export function decodeMlxLayer(stored: StoredMlxLayer, grid: MlxGrid): AffineLinear | AffineMinLinear {
  const { outFeatures, inFeatures } = mlxShape(stored, grid);
  checkDType(stored.weight, ['U32']);
  const codes = wordsOf(stored.weight);
  const scales = realsOf(stored.scales);
  const mins = realsOf(stored.biases);
  const { bits, groupSize } = grid;
  const groupOf = Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize));
  const common = { bits, groupSize, outFeatures, inFeatures, codes, scales, groupOf };
  const zeros = integerZeros(stored.scales.info.dtype, { bits, scales, mins });
  return zeros === undefined ? { kind: 'affine-min', ...common, mins } : { kind: 'affine', ...common, zeros };
}

/**
 * The zero points behind the biases, or undefined where they are not integers. Only where writing them again gives the same
 * bytes: symmetric ones in F16 or F32, any in F32. In BF16, the dtype of folders that mlx itself quantized, real minima.
 */
function integerZeros(
  dtype: string,
  { bits, scales, mins }: Pick<AffineMinLinear, 'bits' | 'scales' | 'mins'>,
): Uint8Array | undefined {
  if (dtype === 'BF16') return undefined;
  const middle = 2 ** (bits - 1);
  const zeros = new Uint8Array(scales.length);
  for (let i = 0; i < scales.length; i++) {
    const zero = scales[i] === 0 ? middle : Math.round(-mins[i] / scales[i]);
    if (!(zero >= 0 && zero < 2 ** bits) || !Object.is(0 - scales[i] * zero, mins[i])) return undefined;
    if (dtype !== 'F32' && zero !== middle) return undefined;
    zeros[i] = zero;
  }
  return zeros;
}

export interface MlxShape {
  readonly outFeatures: number;
  readonly inFeatures: number;
}

/** N and K of stored tensors, from their headers alone. FormatError lists all shapes that do not fit. */
export function mlxShape(
  stored: { readonly [part in keyof StoredMlxLayer]: Pick<StoredTensor, 'info'> },
  { bits, groupSize }: MlxGrid,
): MlxShape {
  const { info } = stored.weight;
  const [outFeatures = 0, words = 0] = info.shape.length === 2 ? info.shape : [];
  const inFeatures = (words * 32) / bits;
  const problems = mlxShapeProblems({ outFeatures, inFeatures, bits, groupSize });
  const expected = `${outFeatures},${inFeatures / groupSize}`;
  for (const { info: part } of [stored.scales, stored.biases]) {
    if (String(part.shape) !== expected)
      problems.push(`${part.name}: shape [${expected}] expected, [${part.shape.join(', ')}] found`);
    if (part.dtype !== stored.scales.info.dtype)
      problems.push(`${part.name}: ${part.dtype}, the scales are ${stored.scales.info.dtype}`);
  }
  if (problems.length === 0) return { outFeatures, inFeatures };
  const where = { file: info.file, tensor: info.name, offset: info.begin };
  const what = `shape [${info.shape.join(', ')}] at ${bits} bits in groups of ${groupSize} does not fit the rest`;
  throw new FormatError(`${what}:${listOffenders(problems)}`, {
    ...where,
    advice: 'check that config.json belongs to these weights (bits, group_size)',
  });
}
