import type { QuantSpec } from '../quant/records.js';

export interface QuantizationConfigOptions {
  readonly spec: QuantSpec;
  readonly toolVersion: string;
  readonly lmHead: boolean;
  /** Module paths of every linear inside the decoder layers that was quantized. */
  readonly quantized: readonly string[];
  /** Module paths of the linears of decoder layers left as they were. */
  readonly skipped: readonly string[];
}

/** v1 stores zero − 1 and so cannot hold a zero of 0; v2 stores it as it is. */
export type CheckpointFormat = 'gptq' | 'gptq_v2';

/**
 * Symmetric grids (zero = 2^(bits−1)) are written as v1, which every loader reads. Asymmetric ones as gptq_v2: readers
 * disagree about a v1 zero of 0, and GPTQModel refuses sym:false with v1.
 */
export function checkpointFormat(spec: Pick<QuantSpec, 'symmetric'>): CheckpointFormat {
  return spec.symmetric ? 'gptq' : 'gptq_v2';
}

/** True where g_idx is not simply floor(k / g), so that readers must follow it. */
export function hasReorderedGroups(spec: QuantSpec): boolean {
  return spec.method === 'gptq' && spec.order === 'act' && !spec.staticGroups && spec.groupSize !== -1;
}

/**
 * The object for config.json's `quantization_config` and for quantize_config.json. Both spellings of renamed keys are
 * written (quant_method/method, checkpoint_format/format), since AutoGPTQ, transformers and vLLM know the old ones and
 * GPTQModel the new.
 */
export function quantizationConfig(options: QuantizationConfigOptions): Record<string, unknown> {
  const { spec, lmHead, toolVersion } = options;
  const format = checkpointFormat(spec);
  const blockModules = modulesInBlock(options);
  const dynamic = dynamicSkips(options.skipped);
  return {
    quant_method: 'gptq',
    method: 'gptq',
    checkpoint_format: format,
    format,
    bits: spec.bits,
    group_size: spec.groupSize,
    desc_act: hasReorderedGroups(spec),
    sym: spec.symmetric,
    lm_head: lmHead,
    pack_dtype: 'int32',
    true_sequential: true,
    damp_percent: spec.damp,
    ...(blockModules === undefined ? {} : { modules_in_block_to_quantize: blockModules }),
    ...(dynamic === undefined ? {} : { dynamic }),
    meta: {
      quantizer: [`halfbyte:${toolVersion}`],
      method: spec.method,
      order: spec.order,
      static_groups: spec.staticGroups,
      range: spec.range,
      refine: spec.refine,
    },
  };
}

/** "self_attn.q_proj" of "model.layers.3.self_attn.q_proj". */
function nameInBlock(module: string): string {
  return /\.\d+\.(.+)$/.exec(module)?.[1] ?? module;
}

/**
 * transformers and vLLM replace every linear of a block unless this list restricts them to some, by name inside the
 * block. Only needed when something was skipped; a name skipped in some blocks only cannot be expressed.
 */
function modulesInBlock({ quantized, skipped }: QuantizationConfigOptions): string[][] | undefined {
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
