import { dequantizeLinear } from '../core/dequantize-linear.js';
import { UserError } from '../core/errors.js';
import type { Bits, Grid, GridSpec, QuantizedLinear } from '../core/quantized-linear.js';
import type { LinearShape, OutputFormat, QuantizeRows } from '../export/output-format.js';
import { bytesOf } from '../io/byte-views.js';
import type { Engine } from '../engine/engine.js';
import { quantizeCodebookLinear, shapeProblems } from '../quant/index.js';
import type { QuantSpec } from '../quant/records.js';
import type { CodebookSpec } from './plan-quantization.js';
import { gridOfSpec } from './resolve-grid.js';

/** A grid that a format holds, for codes that it cannot hold as they are. */
export interface RequantizeTarget {
  readonly spec: GridSpec | CodebookSpec;
  readonly grid: Grid;
}

/**
 * The grid nearest to `from` that the format holds: the one it dictates, else the same bits and group size where it has
 * them, else what is usual, else NF4. UserError where none fits.
 */
export function findTarget(
  format: OutputFormat,
  module: string,
  shape: LinearShape,
  from: Grid,
): RequantizeTarget {
  for (const spec of candidates(format, shape, from)) {
    const full: QuantSpec = { ...ROUND_TO_NEAREST, ...spec };
    const grid = gridOfSpec(full, shape);
    if (shapeProblems(full, shape).length === 0 && format.problems(grid, shape).length === 0)
      return { spec, grid };
  }
  const { method, blockSize } = USUAL_CODEBOOK;
  const grid: Grid = { kind: 'codebook', codebook: method, blockSize, nested: true };
  if (format.problems(grid, shape).length === 0) return { spec: USUAL_CODEBOOK, grid };
  throw new UserError(
    `${module} [${shape.outFeatures}, ${shape.inFeatures}] fits no grid that ${format.name} holds`,
    { advice: 'convert to hf and quantize that' },
  );
}

const ROUND_TO_NEAREST: Omit<QuantSpec, keyof GridSpec> = {
  method: 'rtn',
  order: 'natural',
  staticGroups: false,
  damp: 0,
  range: 'minmax',
  refine: 0,
  minZero: 0,
};

const USUAL_CODEBOOK: CodebookSpec = { method: 'nf4', blockSize: 64, doubleQuant: true };

function candidates(format: OutputFormat, shape: LinearShape, from: Grid): GridSpec[] {
  const native = format.nativeGrid?.(shape);
  if (native !== undefined) return [native];
  const affine = from.kind === 'affine' || from.kind === 'affine-min' ? from : undefined;
  const { usualGrid } = format;
  const bits = [affine?.bits, usualGrid?.bits, 4, 8].filter((value): value is Bits => value !== undefined);
  const groupSizes = [affine?.groupSize, usualGrid?.groupSize, 128, 64, 32, -1].filter(
    (value): value is number => value !== undefined,
  );
  const rules = affine?.symmetric === true ? ['symmetric', 'asymmetric'] : ['asymmetric', 'symmetric'];
  return bits.flatMap((width) =>
    groupSizes.flatMap((groupSize) =>
      rules.map(
        (rule) =>
          ({ rule: rule === 'symmetric' ? 'symmetric' : 'asymmetric', bits: width, groupSize }) as const,
      ),
    ),
  );
}

/** The numbers a record stands for, rounded to nearest on another grid. */
export function requantize(
  record: QuantizedLinear,
  spec: GridSpec | CodebookSpec,
  { engine, quantizeRows }: { readonly engine: Engine; readonly quantizeRows: QuantizeRows },
): Promise<QuantizedLinear> {
  const values = dequantizeLinear(record);
  const { outFeatures, inFeatures } = record;
  if (!('rule' in spec))
    return quantizeCodebookLinear(engine, {
      name: 'dequantized weights',
      weight: {
        dtype: 'f32',
        read: (first, count) => Promise.resolve(values.subarray(first, first + count)),
      },
      ...{ outFeatures, inFeatures, codebook: spec.method },
      ...{ blockSize: spec.blockSize, doubleQuant: spec.doubleQuant },
    });
  return quantizeRows({ bytes: bytesOf(values), dtype: 'F32', cols: inFeatures }, spec);
}
