import type { QuantSpec } from './records.js';

export const MIN_GROUP_SIZE = 16;
export const MAX_GROUP_SIZE = 1024;
/** Group borders must fall on whole 32-bit words of unpacked codes. */
const GROUP_MULTIPLE = 4;
/** Rows and columns of packed integer weights come in multiples of this, as every loader of such files expects. */
const DIMENSION_MULTIPLE = 32;

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
export function groupSizeProblem(groupSize: number): string | undefined {
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

/** Why a linear layer cannot be quantized with these settings: every reason, or an empty list. */
export function shapeProblems(spec: QuantSpec, shape: LinearShape, maxTensorBytes = Infinity): string[] {
  const { outFeatures, inFeatures } = shape;
  const problems: string[] = [];
  const group = groupSizeProblem(spec.groupSize);
  if (group !== undefined) problems.push(group);
  else if (inFeatures % resolveGroupSize(spec, inFeatures) !== 0)
    problems.push(`in_features ${inFeatures} is not a multiple of the group size ${spec.groupSize}`);
  if (inFeatures % DIMENSION_MULTIPLE !== 0)
    problems.push(`in_features ${inFeatures} is not a multiple of ${DIMENSION_MULTIPLE}`);
  if (outFeatures % DIMENSION_MULTIPLE !== 0)
    problems.push(`out_features ${outFeatures} is not a multiple of ${DIMENSION_MULTIPLE}`);
  const codeBytes = (outFeatures * inFeatures * spec.bits) / 8;
  if (codeBytes > maxTensorBytes)
    problems.push(
      `its codes take ${codeBytes} bytes, more than the device's largest tensor of ${maxTensorBytes} bytes`,
    );
  return problems;
}
