/** Tensors of a "pack-quantized" layer, by whichever program, → the record of core/. Every shape and value is checked. */
import { FormatError } from '../../core/errors.js';
import type { AffineLinear } from '../../core/quantized-linear.js';
import { viewBytes } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { StoredTensor } from '../stored-tensor.js';
import { checkDType, elementError, realsOf, wordsOf } from '../stored-tensor.js';
import type { PackScheme } from './pack-quantized-layer.js';
import { packedShapeProblems, unpackZeros } from './pack-quantized-layer.js';

export interface StoredPackedLayer {
  /** I32 [N, K·b/32]. */
  readonly packed: StoredTensor;
  /** F16, BF16 or F32 [N, G]; [N] is read as [N, 1]. */
  readonly scale: StoredTensor;
  /** I32 [⌈N·b/32⌉, G] packed along N, or I8 [N, G] minus 2^(b−1) as releases before 0.10 left it. */
  readonly zeroPoint: StoredTensor | undefined;
  /** I64 or I32 [2]. */
  readonly shape: StoredTensor;
  /** I32 [K]: groups of act-order; −1 everywhere where unused. */
  readonly gIdx: StoredTensor | undefined;
}

export interface PackedShape {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly groups: number;
}

type Headers = { readonly [part in 'packed' | 'scale']: Pick<StoredTensor, 'info'> };

/**
 * N, K and G from headers alone. K is that of whole words: a row that ends inside a word cannot be told apart from one
 * that does not, and decodePackedLayer refuses it by weight_shape. FormatError lists all shapes that do not fit.
 */
export function packedShape({ packed, scale }: Headers, scheme: PackScheme): PackedShape {
  const [outFeatures = 0, words = 0] = packed.info.shape.length === 2 ? packed.info.shape : [];
  const inFeatures = (words * 32) / scheme.bits;
  const groupSize = scheme.groupSize === -1 ? inFeatures : scheme.groupSize;
  const problems = packedShapeProblems({ inFeatures, groupSize, bits: scheme.bits });
  if (outFeatures < 1)
    problems.push(`out_features ${outFeatures} of shape [${packed.info.shape.join(', ')}]`);
  const groups = inFeatures / groupSize;
  const found = scale.info.shape.length === 1 ? [...scale.info.shape, 1] : scale.info.shape;
  if (problems.length === 0 && String(found) !== String([outFeatures, groups]))
    problems.push(
      `${scale.info.name}: shape [${outFeatures}, ${groups}] expected, [${found.join(', ')}] found`,
    );
  if (problems.length > 0) throw shapeError(packed, problems);
  return { outFeatures, inFeatures, groups };
}

/** FormatError names file, tensor and offset of what does not fit together or is no valid value. */
export function decodePackedLayer(stored: StoredPackedLayer, scheme: PackScheme): AffineLinear {
  const shape = packedShape(stored, scheme);
  const { outFeatures, inFeatures, groups } = shape;
  checkWeightShape(stored.shape, shape);
  const groupSize = inFeatures / groups;
  return {
    kind: 'affine',
    bits: scheme.bits,
    outFeatures,
    inFeatures,
    groupSize,
    codes: wordsOf(stored.packed),
    scales: realsOf(stored.scale),
    zeros: zerosOf(stored, scheme, shape),
    groupOf: groupsOf(stored.gIdx, shape),
  };
}

function checkWeightShape(tensor: StoredTensor, { outFeatures, inFeatures }: PackedShape): void {
  checkDType(tensor, ['I64', 'I32']);
  const { info, bytes } = tensor;
  const values =
    info.dtype === 'I64'
      ? [...viewBytes(bytes, BigInt64Array)]
      : [...viewBytes(bytes, Int32Array)].map(BigInt);
  if (values.length === 2 && values[0] === BigInt(outFeatures) && values[1] === BigInt(inFeatures)) return;
  throw new FormatError(
    `the packed weights are ${outFeatures} × ${inFeatures}, this tensor says ${values.slice(0, 4).join(' × ')}`,
    {
      file: info.file,
      tensor: info.name,
      offset: info.begin,
      advice: 'the file is damaged, or its rows end inside a word, which halfbyte does not read',
    },
  );
}

/** [N, G]. */
function zerosOf(
  { zeroPoint, packed }: StoredPackedLayer,
  scheme: PackScheme,
  shape: PackedShape,
): Uint8Array {
  const { outFeatures, groups } = shape;
  const { bits, symmetric } = scheme;
  const middle = 2 ** (bits - 1);
  if (zeroPoint === undefined) {
    if (symmetric) return new Uint8Array(outFeatures * groups).fill(middle);
    throw shapeError(packed, ['the scheme is asymmetric, and there is no weight_zero_point']);
  }
  if (zeroPoint.info.dtype === 'I8') return signedZeros(zeroPoint, scheme, shape);
  const rows = Math.ceil((outFeatures * bits) / 32);
  expectShape(zeroPoint, [rows, groups]);
  const zeros = unpackZeros(wordsOf(zeroPoint), { outFeatures, groups, bits });
  const bad = symmetric ? zeros.findIndex((zero) => zero !== middle) : -1;
  if (bad < 0) return zeros;
  const word = Math.floor((Math.floor(bad / groups) * bits) / 32) * groups + (bad % groups);
  throw elementError(zeroPoint, word, `zero point ${zeros[bad] - middle} although the scheme is symmetric`);
}

/** Zero points that were stored one a byte, signed. */
function signedZeros(tensor: StoredTensor, { bits, symmetric }: PackScheme, shape: PackedShape): Uint8Array {
  checkDType(tensor, ['I8']);
  expectShape(tensor, [shape.outFeatures, shape.groups]);
  const middle = 2 ** (bits - 1);
  const signed = viewBytes(tensor.bytes, Int8Array);
  const limit = symmetric ? 0 : middle;
  const bad = signed.findIndex((zero) => zero < -limit || (zero >= limit && zero !== 0));
  if (bad >= 0) {
    const range = symmetric ? '0' : `${-middle} to ${middle - 1}`;
    throw elementError(tensor, bad, `zero point ${signed[bad]}, ${range} expected`);
  }
  return Uint8Array.from(signed, (zero) => zero + middle);
}

/** [K]. compressed-tensors reads groups as equal shares of the sorted columns, so each must have its share. */
function groupsOf(tensor: StoredTensor | undefined, { inFeatures, groups }: PackedShape): Uint32Array {
  const groupSize = inFeatures / groups;
  const runs = (): Uint32Array =>
    Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize));
  if (tensor === undefined) return runs();
  expectShape(tensor, [inFeatures]);
  checkDType(tensor, ['I32']);
  const stored = viewBytes(tensor.bytes, Int32Array);
  // compressed-tensors fills it with −1 until act-order sets it, and then reads groups as runs.
  if (stored.every((group) => group === -1)) return runs();
  const bad = stored.findIndex((group) => group < 0 || group >= groups);
  if (bad >= 0) throw elementError(tensor, bad, `group ${stored[bad]}, 0 to ${groups - 1} expected`);
  const counts = new Uint32Array(groups);
  for (const group of stored) counts[group] += 1;
  const uneven = counts.findIndex((count) => count !== groupSize);
  if (uneven >= 0) {
    const at = stored.indexOf(uneven);
    throw elementError(
      tensor,
      Math.max(at, 0),
      `group ${uneven} has ${counts[uneven]} columns, ${groupSize} expected`,
    );
  }
  return Uint32Array.from(stored);
}

function expectShape(tensor: StoredTensor, shape: readonly number[]): void {
  if (String(tensor.info.shape) === String(shape)) return;
  throw shapeError(tensor, [`shape [${shape.join(', ')}] expected, [${tensor.info.shape.join(', ')}] found`]);
}

function shapeError({ info }: Pick<StoredTensor, 'info'>, problems: readonly string[]): FormatError {
  return new FormatError(`the tensors of this layer do not fit together:${listOffenders(problems)}`, {
    file: info.file,
    tensor: info.name,
    offset: info.begin,
    advice: 'check that config.json belongs to these weights (num_bits, group_size, symmetric)',
  });
}
