import type { DType } from '../core/dtype.js';
import { UserError } from '../core/errors.js';
import type { CodebookName, GridSpec } from '../core/quantized-linear.js';
import type { OutputFormat, PlannedLinear } from '../export/output-format.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { listOffenders } from '../io/list-offenders.js';
import type { ModelConfig } from '../model/types.js';
import type { QuantSpec } from '../quant/records.js';
import { groupSizeProblem, shapeProblems } from '../quant/shape.js';
import type { SkippedRecord } from '../report/quantize-report.js';
import type { Method, QuantizeSettings, ResolvedGrid } from './quantize-settings.js';
import { isCodebook } from './quantize-settings.js';
import type { LinearSite } from './required-tensors.js';
import { headLinear, layerLinears } from './required-tensors.js';
import { gridForLinear, gridOfSpec, resolveFormats, resolveGrid } from './resolve-grid.js';

/** Settings of nf4 and fp4. */
export interface CodebookSpec {
  readonly method: CodebookName;
  readonly blockSize: number;
  readonly doubleQuant: boolean;
}

/** A linear with what is to be done to it. */
export interface LinearJob extends PlannedLinear {
  readonly spec: QuantSpec | CodebookSpec;
}

export interface QuantizationPlan {
  readonly formats: readonly OutputFormat[];
  /** What the settings left open, settled; undefined for codebooks. */
  readonly grid: ResolvedGrid | undefined;
  /** In the order they are quantized. */
  readonly linears: readonly LinearJob[];
  readonly skipped: readonly SkippedRecord[];
}

export interface PlanOptions {
  readonly config: ModelConfig;
  readonly checkpoint: Checkpoint;
  readonly settings: QuantizeSettings;
  /** Of the engine that will do it. */
  readonly maxTensorBytes: number;
}

/**
 * Decides which linears are quantized and onto which grids, before any work. UserError lists every linear that the group
 * size, a format or the device does not allow, unless `skipUnsupported` leaves them alone; and refuses a tied head.
 */
export function planQuantization(options: PlanOptions): QuantizationPlan {
  const { config, checkpoint, settings } = options;
  const formats = resolveFormats(settings);
  const grid = resolveGrid(settings, formats);
  const problem = grid === undefined ? undefined : groupSizeProblem(grid.groupSize);
  if (problem !== undefined) throw new UserError(problem, { advice: 'choose another --group-size' });
  const linears: LinearJob[] = [];
  const skipped: SkippedRecord[] = [];
  for (const site of chosenSites(config, settings)) {
    const sourceDType = checkpoint.info(`${site.name}.weight`).dtype;
    const job = planLinear(site, { settings, formats, grid, sourceDType });
    const problems = [
      ...('rule' in job.spec ? shapeProblems(job.spec, site, options.maxTensorBytes) : []),
      ...formats.flatMap((format) => format.problems(job.grid, site)),
      ...sizeProblems(checkpoint, site, options.maxTensorBytes),
    ];
    if (problems.length > 0) skipped.push({ name: site.name, reason: [...new Set(problems)].join('; ') });
    else linears.push(job);
  }
  if (skipped.length > 0 && !settings.skipUnsupported) refuse(skipped);
  if (linears.length === 0)
    throw new UserError(`none of ${skipped.length} linears can be quantized with these settings`, {
      advice: 'choose another --group-size, or -1 for one scale per output channel',
    });
  return { formats, grid, linears, skipped };
}

function chosenSites(config: ModelConfig, settings: QuantizeSettings): LinearSite[] {
  const sites = Array.from({ length: config.numHiddenLayers }, (_, i) => layerLinears(config, i)).flat();
  if (!settings.lmHead) return sites;
  const head = headLinear(config);
  if (head !== undefined) return [...sites, head];
  throw new UserError(
    'lm_head is tied to the embeddings (config.json: tie_word_embeddings), so there is no separate matrix to quantize: packing it would quantize the embeddings as well, which no loader reads',
    { advice: 'leave out --lm-head' },
  );
}

interface LinearContext {
  readonly settings: QuantizeSettings;
  readonly formats: readonly OutputFormat[];
  readonly grid: ResolvedGrid | undefined;
  readonly sourceDType: DType;
}

function planLinear(site: LinearSite, { settings, formats, grid, sourceDType }: LinearContext): LinearJob {
  const { name, outFeatures, inFeatures } = site;
  const base = { name, outFeatures, inFeatures, sourceDType };
  const { method, blockSize, doubleQuant } = settings;
  if (grid === undefined || isCodebook(method)) {
    const codebook = method === 'fp4' ? 'fp4' : 'nf4';
    return {
      ...base,
      grid: { kind: 'codebook', codebook, blockSize, nested: doubleQuant },
      spec: { method: codebook, blockSize, doubleQuant },
    };
  }
  const own = gridForLinear(settings, formats, grid, site);
  const spec: QuantSpec = {
    ...own,
    ...(settings.perTensor === true ? { perTensor: true } : {}),
    method: method === 'gptq' ? 'gptq' : 'rtn',
    order: settings.order,
    staticGroups: settings.staticGroups,
    damp: settings.damp,
    range: method === 'hqq' ? 'hqq' : (settings.range ?? usualRange(method, own)),
    refine: settings.refine,
    minZero: 0,
  };
  return { ...base, grid: gridOfSpec(spec, site), spec };
}

/**
 * Under GPTQ, signed scales and minima gain by a search (quant/README.md); round to nearest keeps llama.cpp's own ranges, and
 * with them the speed of one pass.
 */
function usualRange(method: Method, { rule }: GridSpec): 'minmax' | 'mse' {
  return method === 'gptq' && (rule === 'signed' || rule === 'min') ? 'mse' : 'minmax';
}

/** A linear goes to the engine whole, in the checkpoint's dtype. */
function sizeProblems(checkpoint: Checkpoint, { name }: LinearSite, maxTensorBytes: number): string[] {
  const { begin, end } = checkpoint.info(`${name}.weight`);
  const bytes = end - begin;
  if (bytes <= maxTensorBytes) return [];
  return [
    `its weights take ${bytes} bytes, more than the device's largest tensor of ${maxTensorBytes} bytes`,
  ];
}

function refuse(skipped: readonly SkippedRecord[]): never {
  throw new UserError(
    `${skipped.length} linears cannot be quantized with these settings:${listOffenders(
      skipped.map(({ name, reason }) => `${name}: ${reason}`),
    )}`,
    {
      advice:
        'choose a --group-size that divides in_features (or -1), another --format, another --device where a tensor is too large for this one, or add --skip-unsupported to leave them in 16-bit',
    },
  );
}
