import { product } from '../core/dims.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import { UserError } from '../core/errors.js';
import { checkpointFormat } from '../export/quantization-config.js';
import type { PlannedLinear } from '../export/output-plan.js';
import { gptqTensors } from '../export/output-plan.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { listOffenders } from '../io/list-offenders.js';
import type { ModelConfig } from '../model/types.js';
import type { QuantSpec } from '../quant/records.js';
import { groupSizeProblem, resolveGroupSize, shapeProblems } from '../quant/shape.js';
import type { SkippedRecord } from '../report/quantize-report.js';
import type { QuantizeSettings } from './quantize-settings.js';
import type { LinearSite } from './required-tensors.js';
import { headLinear, layerLinears } from './required-tensors.js';

export interface QuantizationPlan {
  readonly spec: QuantSpec;
  /** In the order they are quantized. */
  readonly linears: readonly PlannedLinear[];
  readonly skipped: readonly SkippedRecord[];
  /** Stored bits per weight over quantized and skipped linears. */
  readonly bitsPerWeight: number;
}

export interface PlanOptions {
  readonly config: ModelConfig;
  readonly checkpoint: Checkpoint;
  readonly settings: QuantizeSettings;
  /** Of the engine that will do it. */
  readonly maxTensorBytes: number;
}

/**
 * Decides which linears are quantized, before any work. UserError lists every linear that the group size, the packing or
 * the device does not allow, unless `skipUnsupported` leaves them alone; and refuses a tied head.
 */
export function planQuantization(options: PlanOptions): QuantizationPlan {
  const { config, checkpoint, settings } = options;
  const spec: QuantSpec = {
    ...settings.spec,
    // gptq_v2 holds a zero point of 0; symmetric grids never have one.
    minZero: checkpointFormat(settings.spec) === 'gptq_v2' ? 0 : 1,
  };
  const problem = groupSizeProblem(spec.groupSize);
  if (problem !== undefined) throw new UserError(problem, { advice: 'choose another --group-size' });
  const linears: PlannedLinear[] = [];
  const skipped: SkippedRecord[] = [];
  for (const site of chosenSites(config, settings)) {
    const problems = [
      ...shapeProblems(spec, site, options.maxTensorBytes),
      ...sizeProblems(checkpoint, site, options.maxTensorBytes),
    ];
    if (problems.length > 0) skipped.push({ name: site.name, reason: problems.join('; ') });
    else linears.push(planLinear(site, spec));
  }
  if (skipped.length > 0 && !settings.skipUnsupported) refuse(skipped);
  if (linears.length === 0)
    throw new UserError(`none of ${skipped.length} linears can be quantized with these settings`, {
      advice: 'choose another --group-size, or -1 for one scale per output channel',
    });
  return { spec, linears, skipped, bitsPerWeight: bitsPerWeight(checkpoint, linears, skipped) };
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

/** A linear goes to the engine whole, in the checkpoint's dtype. */
function sizeProblems(checkpoint: Checkpoint, { name }: LinearSite, maxTensorBytes: number): string[] {
  const { begin, end } = checkpoint.info(`${name}.weight`);
  const bytes = end - begin;
  if (bytes <= maxTensorBytes) return [];
  return [
    `its weights take ${bytes} bytes, more than the device's largest tensor of ${maxTensorBytes} bytes`,
  ];
}

function planLinear({ name, outFeatures, inFeatures }: LinearSite, spec: QuantSpec): PlannedLinear {
  const groups = inFeatures / resolveGroupSize(spec, inFeatures);
  return { name, outFeatures, inFeatures, bits: spec.bits, groups };
}

function refuse(skipped: readonly SkippedRecord[]): never {
  throw new UserError(
    `${skipped.length} linears cannot be quantized with these settings:${listOffenders(
      skipped.map(({ name, reason }) => `${name}: ${reason}`),
    )}`,
    {
      advice:
        'choose a --group-size that divides in_features (or -1), another --device where a tensor is too large for this one, or add --skip-unsupported to leave them in 16-bit',
    },
  );
}

function bitsPerWeight(
  checkpoint: Checkpoint,
  linears: readonly PlannedLinear[],
  skipped: readonly SkippedRecord[],
): number {
  let bits = 0;
  let weights = 0;
  for (const linear of linears) {
    weights += linear.outFeatures * linear.inFeatures;
    for (const { dtype, shape } of gptqTensors(linear)) bits += product(shape) * DTYPE_BYTES[dtype] * 8;
  }
  for (const { name } of skipped) {
    const { shape, begin, end } = checkpoint.info(`${name}.weight`);
    weights += product(shape);
    bits += (end - begin) * 8;
  }
  return bits / weights;
}
