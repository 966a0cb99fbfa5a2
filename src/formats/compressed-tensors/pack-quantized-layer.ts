/**
 * One linear layer between the record of core/ and the tensors of compressed-tensors' "pack-quantized". Its signed codes
 * are stored plus 2^(b−1) as one bit stream per row, which are the record's words unchanged; zero points are packed the
 * same way along N. Source: compressed_tensors/compressors/pack_quantized/{base,helpers}.py. Memory: input plus output.
 */
import { castElements } from '../../core/cast-elements.js';
import { FormatError } from '../../core/errors.js';
import type { AffineLinear } from '../../core/quantized-linear.js';
import { bytesOf, viewBytes } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';

/** Widths that pack alike before and since autumn 2025, when codes began to straddle words. */
export type PackedBits = 4 | 8;
export type ScaleDType = 'F16' | 'BF16' | 'F32';

export function isPackedBits(bits: unknown): bits is PackedBits {
  return bits === 4 || bits === 8;
}

/** What the settings, not the tensors, say about a layer. */
export interface PackScheme {
  readonly bits: PackedBits;
  /** Columns per group; −1 for strategy "channel", one group per row. */
  readonly groupSize: number;
  /** Every zero point is 2^(bits−1) and none is stored. */
  readonly symmetric: boolean;
}

/** The tensors of a layer as they stand in the file; G groups of g columns. */
export interface PackedTensors {
  /** I32 [N, K·b/32]: the record's own words. */
  readonly packed: Uint32Array;
  /** [N, G] as bytes of the dtype asked for. */
  readonly scale: Uint8Array;
  /** I32 [⌈N·b/32⌉, G], asymmetric schemes only. */
  readonly zeroPoint: Uint32Array | undefined;
  /** I64 [2]: N, K. */
  readonly shape: BigInt64Array;
}

/** Why a layer of this shape cannot be stored, every reason; `groupSize` is never −1. */
export function packedShapeProblems(shape: {
  readonly inFeatures: number;
  readonly groupSize: number;
  readonly bits: PackedBits;
}): string[] {
  const { inFeatures, groupSize, bits } = shape;
  const perWord = 32 / bits;
  return [
    ...(inFeatures >= 1 && inFeatures % perWord === 0
      ? []
      : [`in_features ${inFeatures} is not a multiple of ${perWord}, the ${bits}-bit codes of a word`]),
    ...(Number.isInteger(groupSize) && groupSize >= 1 && inFeatures % groupSize === 0
      ? []
      : [`group size ${groupSize} does not divide in_features ${inFeatures}`]),
  ];
}

/**
 * Record → file tensors. FormatError naming the layer, listing all that does not fit: other widths, reordered groups,
 * zero points in a symmetric scheme, scales that `scaleDType` does not hold exactly.
 */
export function encodePackedLayer(
  linear: AffineLinear,
  name: string,
  { symmetric, scaleDType }: { readonly symmetric: boolean; readonly scaleDType: ScaleDType },
): PackedTensors {
  const { bits, outFeatures, inFeatures, codes, scales, zeros } = linear;
  const scale = castElements(bytesOf(scales), 'F32', scaleDType);
  const problems = isPackedBits(bits)
    ? recordProblems(
        { ...linear, bits },
        symmetric,
        viewBytes(castElements(scale, scaleDType, 'F32'), Float32Array),
      )
    : [`4 and 8 bits can be held, not ${bits}`];
  if (problems.length > 0 || !isPackedBits(bits)) {
    throw new FormatError(`compressed-tensors cannot hold these codes:${listOffenders(problems)}`, {
      file: 'compressed-tensors layer',
      tensor: name,
    });
  }
  return {
    packed: codes,
    scale,
    zeroPoint: symmetric
      ? undefined
      : packZeros(zeros, { outFeatures, groups: scales.length / outFeatures, bits }),
    shape: BigInt64Array.of(BigInt(outFeatures), BigInt(inFeatures)),
  };
}

function recordProblems(
  linear: AffineLinear & { readonly bits: PackedBits },
  symmetric: boolean,
  stored: Float32Array,
): string[] {
  const { bits, outFeatures, inFeatures, groupSize, codes, scales, zeros, groupOf } = linear;
  const shape = packedShapeProblems({ inFeatures, groupSize, bits });
  if (shape.length > 0) return shape;
  const cells = (outFeatures * inFeatures) / groupSize;
  if (
    codes.length !== (outFeatures * inFeatures * bits) / 32 ||
    scales.length !== cells ||
    zeros.length !== cells
  )
    return [
      `${codes.length} words, ${scales.length} scales and ${zeros.length} zeros for ${outFeatures} × ${inFeatures}`,
    ];
  const reordered = groupOf.findIndex((group, k) => group !== Math.floor(k / groupSize));
  const middle = 2 ** (bits - 1);
  const badZero = zeros.findIndex((zero) => (symmetric ? zero !== middle : zero >= 2 ** bits));
  // Written so that NaN and infinity fail as well.
  const badScale = scales.findIndex((scale, i) => !(stored[i] - scale === 0));
  return [
    ...(reordered < 0
      ? []
      : [`column ${reordered} is in group ${groupOf[reordered]}, groups must be runs of columns`]),
    ...(badZero < 0
      ? []
      : [
          `zero point ${zeros[badZero]} at element ${badZero}, ${symmetric ? middle : `0 to ${2 ** bits - 1}`} expected`,
        ]),
    ...(badScale < 0 ? [] : [`scale ${scales[badScale]} at element ${badScale} cannot be held exactly`]),
  ];
}

export interface ZeroLayout {
  /** N. */
  readonly outFeatures: number;
  /** G. */
  readonly groups: number;
  readonly bits: PackedBits;
}

/** [N, G] → words [⌈N·b/32⌉, G]: the bit stream of each group runs down its column. */
export function packZeros(zeros: Uint8Array, { outFeatures, groups, bits }: ZeroLayout): Uint32Array {
  const perWord = 32 / bits;
  const words = new Uint32Array(Math.ceil(outFeatures / perWord) * groups);
  for (let n = 0; n < outFeatures; n++) {
    const row = Math.floor(n / perWord) * groups;
    const shift = bits * (n % perWord);
    for (let g = 0; g < groups; g++) words[row + g] |= zeros[n * groups + g] << shift;
  }
  return words;
}

/** The inverse of packZeros; bits behind the last row are ignored. */
export function unpackZeros(words: Uint32Array, { outFeatures, groups, bits }: ZeroLayout): Uint8Array {
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  const zeros = new Uint8Array(outFeatures * groups);
  for (let n = 0; n < outFeatures; n++) {
    const row = Math.floor(n / perWord) * groups;
    const shift = bits * (n % perWord);
    for (let g = 0; g < groups; g++) zeros[n * groups + g] = (words[row + g] >>> shift) & mask;
  }
  return zeros;
}
