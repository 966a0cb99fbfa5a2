import type { GptqCheckpointFormat } from '../../formats/gptq/gptq-layer.js';
import type { ModelToWrite } from '../output-format.js';
import { plannedLinears } from '../output-format.js';

/**
 * The object for config.json's `quantization_config` and for quantize_config.json. Both spellings of renamed keys are
 * written (quant_method/method, checkpoint_format/format), since AutoGPTQ, transformers and vLLM know the old ones and
 * GPTQModel the new.
 */
export function gptqQuantizationConfig(
  model: ModelToWrite,
  format: GptqCheckpointFormat,
): Record<string, unknown> {
  const { settings, skipped, toolVersion } = model;
  const linears = plannedLinears(model);
  const grids = linears.map(({ grid }) => grid);
  const names = quantizedNames(model);
  const isInBlock = (name: string): boolean => name !== 'lm_head';
  const blockModules = modulesInBlock(names.filter(isInBlock), skipped);
  const dynamic = dynamicSkips(skipped);
  const { method, order, staticGroups, range, refine } = settings;
  return {
    quant_method: 'gptq',
    method: 'gptq',
    checkpoint_format: format,
    format,
    bits: grids[0]?.kind === 'affine' ? grids[0].bits : 4,
    group_size: commonGroupSize(model) ?? -1,
    desc_act: grids.some((grid) => grid.kind === 'affine' && grid.reordered),
    sym: grids.every((grid) => grid.kind === 'affine' && grid.symmetric),
    lm_head: names.includes('lm_head'),
    pack_dtype: 'int32',
    true_sequential: true,
    // transformers demands a value strictly between 0 and 1, whatever the method.
    damp_percent: typeof settings.damp === 'number' && settings.damp > 0 ? settings.damp : 0.01,
    ...(blockModules === undefined ? {} : { modules_in_block_to_quantize: blockModules }),
    ...(dynamic === undefined ? {} : { dynamic }),
    meta: {
      quantizer: [`halfbyte:${toolVersion}`],
      method,
      order,
      static_groups: staticGroups,
      range,
      refine,
    },
  };
}

export function quantizedNames(model: ModelToWrite): string[] {
  return plannedLinears(model).map(({ name }) => name);
}

/** The group size of all linears: one number, −1 where every linear has one group per output channel, else undefined. */
export function commonGroupSize(model: ModelToWrite): number | undefined {
  const linears = plannedLinears(model);
  const sizes = new Set(linears.map(({ grid }) => (grid.kind === 'affine' ? grid.groupSize : 0)));
  const perChannel = linears.every(
    ({ grid, inFeatures }) => grid.kind === 'affine' && grid.groupSize === inFeatures,
  );
  if (perChannel && (sizes.size > 1 || model.settings.groupSize === -1)) return -1;
  return sizes.size === 1 ? [...sizes][0] : undefined;
}

/** "self_attn.q_proj" of "model.layers.3.self_attn.q_proj". */
function nameInBlock(module: string): string {
  return /\.\d+\.(.+)$/.exec(module)?.[1] ?? module;
}

/**
 * transformers and vLLM replace every linear of a block unless this list restricts them to some, by name inside the
 * block. Only needed when something was skipped; a name skipped in some blocks only cannot be expressed.
 */
function modulesInBlock(quantized: readonly string[], skipped: readonly string[]): string[][] | undefined {
  if (skipped.length === 0) return undefined;
  const skippedNames = new Set(skipped.map(nameInBlock));
  const names = new Set(quantized.map(nameInBlock).filter((name) => !skippedNames.has(name)));
  return names.size === 0 ? undefined : [[...names]];
}

/** Names that are quantized in some blocks and skipped in others: transformers cannot load such a folder. */
export function partlySkippedNames(quantized: readonly string[], skipped: readonly string[]): string[] {
  const names = new Set(quantized.map(nameInBlock));
  return [...new Set(skipped.map(nameInBlock))].filter((name) => names.has(name));
}

/** GPTQModel's and vLLM's way to leave single modules alone: regular expressions prefixed "-:". */
function dynamicSkips(skipped: readonly string[]): Record<string, object> | undefined {
  if (skipped.length === 0) return undefined;
  return Object.fromEntries(skipped.map((module) => [`-:^${module.replaceAll('.', '\\.')}$`, {}]));
}
