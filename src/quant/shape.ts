import type { GridRule } from '../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../core/quantized-linear.js';
import { isKQuant, rangeUnit } from './range-groups.js';
import type { QuantSpec } from './records.js';

export const MIN_GROUP_SIZE = 16;
export const MAX_GROUP_SIZE = 1024;
/** Group borders must fall on whole 32-bit words of unpacked codes. */
const GROUP_MULTIPLE = 4;
/** K·bits fills whole 32-bit words, whatever the bits. */
const COLUMN_MULTIPLE = 32;

export interface LinearShape {
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
}

/** Columns per group with −1 resolved to one group per output channel. */
export function resolveGroupSize(spec: Pick<QuantSpec, 'groupSize'>, inFeatures: number): number {
  return spec.groupSize === -1 ? inFeatures : spec.groupSize;
}

/** What is wrong with the group size itself, whatever the layer; undefined when nothing is. */
export function groupSizeProblem(groupSize: number, rule: GridRule = 'symmetric'): string | undefined {
  if (isKQuant(rule)) {
    const { subBlock } = K_QUANTS[rule];
    return groupSize === subBlock ? undefined : `group size ${groupSize} is not the ${subBlock} of ${rule}`;
  }
  if (groupSize === -1) return undefined;
  if (
    Number.isInteger(groupSize) &&
    groupSize >= MIN_GROUP_SIZE &&
    groupSize <= MAX_GROUP_SIZE &&
    groupSize % GROUP_MULTIPLE === 0
  )
    return undefined;
  return `group size ${groupSize} is neither -1 nor a multiple of ${GROUP_MULTIPLE} from ${MIN_GROUP_SIZE} to ${MAX_GROUP_SIZE}`;
}

function isPlain(rule: GridRule): boolean {
  return rule === 'symmetric' || rule === 'asymmetric';
}

/** What is wrong with the settings themselves, whatever the layer: every reason, or an empty list. */
export function specProblems(spec: QuantSpec): string[] {
  const { rule, bits, groupSize, order, range } = spec;
  const problems: string[] = [];
  const group = groupSizeProblem(groupSize, rule);
  if (group !== undefined) problems.push(group);
  if (spec.perTensor === true && (groupSize !== -1 || range !== 'minmax' || !isPlain(rule)))
    problems.push('one scale for the whole matrix needs group size -1, range minmax and a plain affine grid');
  if (!isKQuant(rule)) return problems;
  if (bits !== K_QUANTS[rule].bits)
    problems.push(`${bits} bits are not the ${K_QUANTS[rule].bits} of ${rule}`);
  if (order !== 'natural')
    problems.push(
      `${order} order would tear the super-blocks of ${SUPER_BLOCK} columns of ${rule} apart: use the natural order`,
    );
  return problems;
}

/**
 * Why a linear layer cannot be quantized with these settings: every reason, or an empty list. What a file format can hold
 * is another question.
 */
export function shapeProblems(spec: QuantSpec, shape: LinearShape, maxTensorBytes = Infinity): string[] {
  const { outFeatures, inFeatures } = shape;
  const problems = specProblems(spec);
  const unit = rangeUnit(spec.rule, resolveGroupSize(spec, inFeatures));
  if (groupSizeProblem(spec.groupSize, spec.rule) === undefined && inFeatures % unit !== 0)
    problems.push(
      isKQuant(spec.rule)
        ? `in_features ${inFeatures} is not a multiple of the ${SUPER_BLOCK} columns of a ${spec.rule} super-block`
        : `in_features ${inFeatures} is not a multiple of the group size ${spec.groupSize}`,
    );
  if (inFeatures % COLUMN_MULTIPLE !== 0)
    problems.push(`in_features ${inFeatures} is not a multiple of ${COLUMN_MULTIPLE}`);
  const codeBytes = (outFeatures * inFeatures * spec.bits) / 8;
  if (codeBytes > maxTensorBytes)
    problems.push(
      `its codes take ${codeBytes} bytes, more than the device's largest tensor of ${maxTensorBytes} bytes`,
    );
  return problems;
}
