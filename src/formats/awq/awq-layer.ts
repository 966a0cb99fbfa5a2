/**
 * One linear layer between the record of core/ and the three tensors of AutoAWQ's GEMM layout. Eight neighbouring output
 * columns share a word, in the order 0 2 4 6 1 3 5 7 from the lowest nibble up; codes lie [K, N], the record's [N, K].
 * Source of the layout: AutoAWQ awq/modules/linear/gemm.py, awq/utils/packing_utils.py. Memory: input plus output.
 */
import { castElements } from '../../core/cast-elements.js';
import { FormatError } from '../../core/errors.js';
import type { AffineLinear } from '../../core/quantized-linear.js';
import { bytesOf, viewBytes } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { StoredTensor } from '../stored-tensor.js';
import { realsOf, wordsOf } from '../stored-tensor.js';
import { transpose } from '../gptq/transpose.js';
import type { RowOrder } from './transpose-nibbles.js';
import { transposeNibbles } from './transpose-nibbles.js';

export const AWQ_BITS = 4;
const CODES_PER_WORD = 8;
/** Output column of each nibble of a word, lowest nibble first. */
const NIBBLE_COLUMNS: RowOrder = [0, 2, 4, 6, 1, 3, 5, 7];
const IN_ORDER: RowOrder = [0, 1, 2, 3, 4, 5, 6, 7];

/** The tensors of a layer as they stand in the file; G groups of g columns. */
export interface AwqTensors {
  /** I32 [K, N/8]. */
  readonly qweight: Uint32Array;
  /** I32 [G, N/8], true zero points. */
  readonly qzeros: Uint32Array;
  /** F16 bits [G, N]. */
  readonly scales: Uint16Array;
}

/** Why a layer of this shape cannot be stored, every reason; `groupSize` is never −1. */
export function awqShapeProblems(shape: {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly groupSize: number;
}): string[] {
  const { outFeatures, inFeatures, groupSize } = shape;
  return [
    ...(outFeatures >= 1 && outFeatures % CODES_PER_WORD === 0
      ? []
      : [`out_features ${outFeatures} is not a multiple of 8, which awq packs into a word`]),
    ...(inFeatures >= 1 && inFeatures % CODES_PER_WORD === 0
      ? []
      : [`in_features ${inFeatures} is not a multiple of 8`]),
    ...(Number.isInteger(groupSize) && groupSize >= 1 && inFeatures % groupSize === 0
      ? []
      : [`group size ${groupSize} does not divide in_features ${inFeatures}`]),
  ];
}

/**
 * Record → file tensors. FormatError naming the layer, listing all that the layout cannot hold: other widths, shapes,
 * reordered groups, scales that are no float16 numbers.
 */
export function encodeAwqLayer(linear: AffineLinear, name: string): AwqTensors {
  const { outFeatures, inFeatures } = linear;
  const halves = viewBytes(castElements(bytesOf(linear.scales), 'F32', 'F16'), Uint16Array);
  const problems = recordProblems(linear, halves);
  if (problems.length > 0) {
    throw new FormatError(`awq cannot hold these codes:${listOffenders(problems)}`, {
      file: 'AWQ layer',
      tensor: name,
    });
  }
  const groups = linear.scales.length / outFeatures;
  const shape = { rows: outFeatures, cols: inFeatures };
  const qweight = transposeNibbles(linear.codes, shape, NIBBLE_COLUMNS, IN_ORDER);
  const scales = new Uint16Array(halves.length);
  transpose(halves, scales, outFeatures, groups);
  const zeros = new Uint8Array(linear.zeros.length);
  transpose(linear.zeros, zeros, outFeatures, groups);
  return { qweight, qzeros: packColumns(zeros), scales };
}

function recordProblems(linear: AffineLinear, halves: Uint16Array): string[] {
  const { bits, outFeatures, inFeatures, groupSize, codes, scales, zeros, groupOf } = linear;
  const shape = awqShapeProblems({ outFeatures, inFeatures, groupSize });
  if (bits !== AWQ_BITS || shape.length > 0)
    return bits === AWQ_BITS ? shape : [`4 bits can be held, not ${bits}`, ...shape];
  const cells = (outFeatures * inFeatures) / groupSize;
  if (
    codes.length !== (outFeatures * inFeatures) / CODES_PER_WORD ||
    scales.length !== cells ||
    zeros.length !== cells
  )
    return [
      `${codes.length} words, ${scales.length} scales and ${zeros.length} zeros for ${outFeatures} × ${inFeatures}`,
    ];
  const reordered = groupOf.findIndex((group, k) => group !== Math.floor(k / groupSize));
  const badZero = zeros.findIndex((zero) => zero >= 2 ** AWQ_BITS);
  const exact = viewBytes(castElements(bytesOf(halves), 'F16', 'F32'), Float32Array);
  // Written so that NaN and infinity fail as well.
  const badScale = scales.findIndex((scale, i) => !(exact[i] - scale === 0));
  return [
    ...(reordered < 0
      ? []
      : [`column ${reordered} is in group ${groupOf[reordered]}, groups must be runs of columns`]),
    ...(badZero < 0 ? [] : [`zero point ${zeros[badZero]} at element ${badZero} is beyond 15`]),
    ...(badScale < 0 ? [] : [`scale ${scales[badScale]} at element ${badScale} is no finite float16 number`]),
  ];
}

export interface StoredAwqLayer {
  readonly qweight: StoredTensor;
  readonly qzeros: StoredTensor;
  /** F16; BF16 and F32 are read too. */
  readonly scales: StoredTensor;
}

/**
 * File tensors → record. `groupSize` is the config's, −1 for one group per output column. FormatError names file, tensor
 * and offset: dtypes, shapes that do not fit together, scales that are not finite.
 */
export function decodeAwqLayer(stored: StoredAwqLayer, groupSize: number): AffineLinear {
  const { outFeatures, inFeatures, groups } = awqShape(stored, groupSize);
  const words = wordsOf(stored.qweight);
  const codes = transposeNibbles(words, { rows: inFeatures, cols: outFeatures }, IN_ORDER, NIBBLE_COLUMNS);
  const scales = new Float32Array(groups * outFeatures);
  transpose(realsOf(stored.scales), scales, groups, outFeatures);
  const zeros = new Uint8Array(groups * outFeatures);
  transpose(unpackColumns(wordsOf(stored.qzeros)), zeros, groups, outFeatures);
  const columns = inFeatures / groups;
  return {
    kind: 'affine',
    bits: AWQ_BITS,
    outFeatures,
    inFeatures,
    groupSize: columns,
    codes,
    scales,
    zeros,
    groupOf: Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / columns)),
  };
}

export interface AwqShape {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly groups: number;
}

/** N, K and G of stored tensors, from their headers alone. FormatError lists all shapes that do not fit. */
export function awqShape(
  stored: { readonly [part in keyof StoredAwqLayer]: Pick<StoredTensor, 'info'> },
  groupSize: number,
): AwqShape {
  const { qweight, qzeros, scales } = stored;
  const [inFeatures = 0, words = 0] = qweight.info.shape.length === 2 ? qweight.info.shape : [];
  const outFeatures = words * CODES_PER_WORD;
  const columns = groupSize === -1 ? inFeatures : groupSize;
  const problems = awqShapeProblems({ outFeatures, inFeatures, groupSize: columns });
  const groups = inFeatures / columns;
  const expectShape = ({ info }: Pick<StoredTensor, 'info'>, shape: readonly number[]): void => {
    if (String(info.shape) !== String(shape))
      problems.push(`${info.name}: shape [${shape.join(', ')}] expected, [${info.shape.join(', ')}] found`);
  };
  if (problems.length === 0) {
    expectShape(qzeros, [groups, words]);
    expectShape(scales, [groups, outFeatures]);
  }
  if (problems.length === 0) return { outFeatures, inFeatures, groups };
  const { info } = qweight;
  throw new FormatError(
    `shape [${info.shape.join(', ')}] and group size ${groupSize} do not fit the rest:${listOffenders(problems)}`,
    {
      file: info.file,
      tensor: info.name,
      offset: info.begin,
      advice: 'check that config.json belongs to these weights (bits, group_size)',
    },
  );
}

/** Codes [G, N] → words [G, N/8]; rows need no care because N is a multiple of 8. */
function packColumns(codes: Uint8Array): Uint32Array {
  const words = new Uint32Array(codes.length / CODES_PER_WORD);
  for (let i = 0; i < words.length; i++) {
    const at = i * CODES_PER_WORD;
    let word = 0;
    for (let nibble = 0; nibble < CODES_PER_WORD; nibble++)
      word |= codes[at + NIBBLE_COLUMNS[nibble]] << (4 * nibble);
    words[i] = word;
  }
  return words;
}

function unpackColumns(words: Uint32Array): Uint8Array {
  const codes = new Uint8Array(words.length * CODES_PER_WORD);
  for (let i = 0; i < words.length; i++) {
    const at = i * CODES_PER_WORD;
    for (let nibble = 0; nibble < CODES_PER_WORD; nibble++)
      codes[at + NIBBLE_COLUMNS[nibble]] = (words[i] >>> (4 * nibble)) & 15;
  }
  return codes;
}
