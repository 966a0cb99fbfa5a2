import { UserError } from '../core/errors.js';
import type { Grid, GridSpec } from '../core/quantized-linear.js';
import { outputFormat } from '../export/formats/index.js';
import type { FormatName, LinearShape, OutputFormat } from '../export/output-format.js';
import { resolveGroupSize } from '../quant/index.js';
import type { QuantSpec } from '../quant/records.js';
import type { QuantizeSettings, ResolvedGrid } from './quantize-settings.js';
import { isCodebook } from './quantize-settings.js';

/** The formats asked for, or the one the method is usually written in. */
export function resolveFormats(settings: QuantizeSettings): OutputFormat[] {
  const names = settings.formats.length > 0 ? settings.formats : [usualFormat(settings)];
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new UserError(`format ${twice} is asked for twice`);
  if (names.includes('gguf-f16'))
    throw new UserError('gguf-f16 holds 16-bit weights: there is nothing to quantize', {
      advice: 'halfbyte convert MODEL --to gguf-f16 --out DIR writes it',
    });
  return names.map(outputFormat);
}

function usualFormat({ method, symmetric }: QuantizeSettings): FormatName {
  switch (method) {
    case 'nf4':
    case 'fp4':
      return 'bitsandbytes';
    case 'awq':
      return 'awq';
    case 'hqq':
      // Fitted zeros are real numbers, which GPTQ's layout cannot hold.
      return 'mlx';
    case 'gptq':
    case 'rtn':
      return symmetric === false ? 'gptq_v2' : 'gptq';
    default:
      return method satisfies never;
  }
}

/** Bits, group size and symmetry of the affine grid, where no format dictates its own; undefined for codebooks. */
export function resolveGrid(
  settings: QuantizeSettings,
  formats: readonly OutputFormat[],
): ResolvedGrid | undefined {
  if (isCodebook(settings.method)) return undefined;
  const habits = formats.map(({ usualGrid }): ResolvedGrid => {
    return { bits: 4, groupSize: 128, symmetric: true, ...usualGrid };
  });
  const fitsZeros = settings.method === 'hqq';
  if (fitsZeros && settings.symmetric === true)
    throw new UserError('hqq fits zero points, a symmetric grid has none to fit', {
      advice: 'leave out --sym, or use --method rtn --range mse',
    });
  return {
    bits: settings.bits ?? habits[0].bits,
    // The smallest habit: formats that like larger groups hold smaller ones too.
    groupSize:
      settings.perTensor === true
        ? -1
        : (settings.groupSize ?? Math.min(...habits.map((habit) => habit.groupSize))),
    symmetric: settings.symmetric ?? (!fitsZeros && habits.some((habit) => habit.symmetric)),
  };
}

/**
 * The grid for one linear: the one a format dictates (GGUF's block types), else the resolved one. UserError where a format
 * dictates a grid and the settings name another, or where two formats dictate different ones.
 */
export function gridForLinear(
  settings: QuantizeSettings,
  formats: readonly OutputFormat[],
  grid: ResolvedGrid,
  shape: LinearShape,
): GridSpec {
  const dictated = formats.flatMap((format) => {
    const spec = format.nativeGrid?.(shape);
    return spec === undefined ? [] : [{ name: format.name, spec }];
  });
  if (dictated.length === 0) {
    const { bits, groupSize } = grid;
    const minima: Grid = gridOfSpec({ ...DATA_FREE, rule: 'min', bits, groupSize }, shape);
    const holdMinima = formats.every((format) => format.problems(minima, shape).length === 0);
    if (settings.method === 'hqq' && holdMinima) return { rule: 'min', bits, groupSize };
    return { rule: grid.symmetric ? 'symmetric' : 'asymmetric', bits, groupSize };
  }
  const [{ name, spec }] = dictated;
  if (settings.method === 'hqq' && spec.rule !== 'min')
    throw new UserError(`hqq fits zero points, ${name} has none of its own`, {
      advice: 'use gguf-q4_1 or mlx, or another --method',
    });
  const other = dictated.find((entry) => !sameGrid(entry.spec, spec));
  if (other !== undefined)
    throw new UserError(`${name} and ${other.name} need codes on different grids`, {
      advice: 'write them in two runs',
    });
  const named: [string, number | undefined, number][] = [
    ['--bits', settings.bits, spec.bits],
    ['--group-size', settings.groupSize, spec.groupSize],
  ];
  const wrong = named.find(([, asked, dictates]) => asked !== undefined && asked !== dictates);
  if (wrong !== undefined)
    throw new UserError(
      `${name} has ${wrong[0]} ${wrong[2]} for a linear [${shape.outFeatures}, ${shape.inFeatures}], ${wrong[1]} was asked for`,
      {
        advice: `leave out ${wrong[0]}`,
      },
    );
  return spec;
}

/** What gridOfSpec asks besides the grid, for methods without a column loop. */
const DATA_FREE = { method: 'rtn', order: 'natural', staticGroups: false } as const;

function sameGrid(a: GridSpec, b: GridSpec): boolean {
  return a.rule === b.rule && a.bits === b.bits && a.groupSize === b.groupSize;
}

/** What a format will be asked to hold when a linear is quantized by `spec`. */
export function gridOfSpec(
  spec: Pick<QuantSpec, 'rule' | 'bits' | 'groupSize' | 'method' | 'order' | 'staticGroups'>,
  { inFeatures }: LinearShape,
): Grid {
  const { rule, bits } = spec;
  if (rule === 'q4_k' || rule === 'q6_k') return { kind: 'k-quant', type: rule };
  const groupSize = resolveGroupSize(spec, inFeatures);
  return {
    kind: rule === 'min' ? 'affine-min' : 'affine',
    bits,
    groupSize,
    symmetric: rule === 'symmetric' || rule === 'signed',
    signed: rule === 'signed',
    reordered:
      spec.method === 'gptq' && spec.order === 'act' && !spec.staticGroups && groupSize !== inFeatures,
    scaleDType: 'F16',
  };
}
