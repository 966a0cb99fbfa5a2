import { gridOf, gridText } from '../core/describe-grid.js';
import { UserError } from '../core/errors.js';
import type { Grid } from '../core/quantized-linear.js';
import { outputFormat } from '../export/formats/index.js';
import type { LinearShape, OutputFormat } from '../export/output-format.js';
import { FORMAT_NAMES } from '../export/output-format.js';
import { listOffenders } from '../io/list-offenders.js';
import { EMBEDDING_NAME, HEAD_NAME } from '../model/index.js';
import type { QuantizedReader } from './quantized-reader.js';
import type { RequantizeTarget } from './requantize.js';
import { findTarget } from './requantize.js';

/** A quantized module of the source, and what becomes of it. */
export interface Conversion {
  readonly module: string;
  readonly shape: LinearShape;
  /** As it will be written; of expanded modules as it is. */
  readonly grid: Grid;
  readonly plan:
    | { readonly kind: 'keep' }
    /** Plain numbers, in a format (or for a table of a format) that has no codes. */
    | { readonly kind: 'expand' }
    | { readonly kind: 'requantize'; readonly spec: RequantizeTarget['spec'] };
}

export interface PlanConversionsOptions {
  readonly quantized: QuantizedReader;
  readonly format: OutputFormat;
  /** Whether codes may be rounded anew. */
  readonly requantize: boolean;
  readonly signal?: AbortSignal | undefined;
}

const EMBEDDING_MODULE = EMBEDDING_NAME.replace(/\.weight$/, '');

/**
 * Judges every quantized module, reading codes only where headers do not tell the grid. UserError listing those that the
 * format cannot hold exactly, with the formats that can.
 */
export async function planConversions(options: PlanConversionsOptions): Promise<Conversion[]> {
  const { quantized, format, requantize, signal } = options;
  const found: Conversion[] = [];
  /** Modules by what is wrong with them: most share it. */
  const problems = new Map<string, string[]>();
  for (const module of quantized.modules) {
    const grid = quantized.grid?.(module) ?? gridOf(await quantized.read(module, signal));
    const [outFeatures, inFeatures] = quantized.shape(module);
    const shape = { outFeatures, inFeatures };
    const reasons = format.problems(grid, { name: module, ...shape });
    const isTable = module === EMBEDDING_MODULE;
    if (reasons.length === 0 && !(isTable && format.holdsTables !== true))
      found.push({ module, shape, grid, plan: { kind: 'keep' } });
    else if (isTable || format.holdsPlain === true)
      found.push({ module, shape, grid, plan: { kind: 'expand' } });
    else {
      const problem = `${gridText(grid)}: ${reasons.join('; ')}`;
      problems.set(problem, [...(problems.get(problem) ?? []), module]);
      if (!requantize) continue;
      const target = findTarget(format, module, shape, grid);
      found.push({ module, shape, grid: target.grid, plan: { kind: 'requantize', spec: target.spec } });
    }
  }
  if (problems.size === 0 || requantize) return found;
  const able = await holders(quantized, signal);
  throw new UserError(
    `${format.name} cannot hold all codes exactly:${listOffenders([...problems].map(problemText))}`,
    {
      advice: `${able.length === 0 ? 'no format holds all of them: choose hf' : `choose one that holds them (${able.join(', ')})`}, or add --requantize to round them anew`,
    },
  );
}

function problemText([problem, modules]: [string, string[]]): string {
  const more = modules.length > 1 ? ` and ${modules.length - 1} more` : '';
  return `${modules[0]}${more}: ${problem}`;
}

/** The formats that hold every linear. */
async function holders(quantized: QuantizedReader, signal: AbortSignal | undefined): Promise<string[]> {
  let able = FORMAT_NAMES.map(outputFormat);
  for (const module of quantized.modules) {
    if (module === EMBEDDING_MODULE || module === HEAD_NAME) continue;
    const grid = quantized.grid?.(module) ?? gridOf(await quantized.read(module, signal));
    const [outFeatures, inFeatures] = quantized.shape(module);
    able = able.filter((format) => format.problems(grid, { outFeatures, inFeatures }).length === 0);
  }
  return able.map((format) => format.name);
}
