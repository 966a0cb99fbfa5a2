/**
 * The settings of a GPTQ checkpoint as any tool may have written them: quantize_config.json, or `quantization_config` in
 * config.json. Old and new spellings (quant_method/method, checkpoint_format/format) are both read.
 * Sources: GPTQModel gptqmodel/quantization/config.py, AutoGPTQ auto_gptq/quantization/config.py. Writing is export's.
 */
import { FormatError } from '../../core/errors.js';
import type { JsonObject } from '../../io/json.js';
import { describeJson, isJsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { GptqCheckpointFormat } from './gptq-layer.js';

/** Widths that GPTQ readers know. */
export const GPTQ_BITS = [2, 3, 4, 8] as const;
export type GptqBits = (typeof GPTQ_BITS)[number];

export interface GptqConfig {
  readonly bits: GptqBits;
  /** Columns per group; −1 for one group per row. */
  readonly groupSize: number;
  readonly descAct: boolean;
  readonly symmetric: boolean;
  readonly checkpointFormat: GptqCheckpointFormat;
  readonly lmHead: boolean;
  /** Per-module overrides by regular expression, "-:" for modules left alone. */
  readonly dynamic: ReadonlyMap<string, JsonObject>;
}

/**
 * Reads the settings found in `file`. FormatError lists everything missing or unsupported: another method than GPTQ, bits
 * other than 2, 3, 4, 8, a packing other than int32, Marlin's repacked words.
 */
export function parseGptqConfig(settings: JsonObject, file: string): GptqConfig {
  const problems: string[] = [];
  const method = settings.method ?? settings.quant_method ?? 'gptq';
  if (method !== 'gptq') problems.push(`quant_method: "gptq" expected, ${describeJson(method)} found`);
  const checkpointFormat = settings.checkpoint_format ?? settings.format ?? 'gptq';
  if (!isCheckpointFormat(checkpointFormat)) {
    problems.push(`checkpoint_format: "gptq" or "gptq_v2" expected, ${describeJson(checkpointFormat)} found`);
  }
  const bits = settings.bits;
  if (!isGptqBits(bits)) problems.push(`bits: 2, 3, 4 or 8 expected, ${describeJson(bits)} found`);
  const groupSize = settings.group_size;
  if (!isGroupSize(groupSize))
    problems.push(`group_size: −1 or positive expected, ${describeJson(groupSize)} found`);
  const packing = settings.pack_dtype ?? 'int32';
  if (packing !== 'int32') problems.push(`pack_dtype: "int32" expected, ${describeJson(packing)} found`);
  if (settings.is_marlin_format === true)
    problems.push('is_marlin_format: repacked weights are not supported');
  const flag = (key: string, fallback: boolean): boolean => {
    const value = settings[key] ?? fallback;
    if (typeof value === 'boolean') return value;
    problems.push(`${key}: true or false expected, ${describeJson(value)} found`);
    return fallback;
  };
  // AutoGPTQ's and GPTQModel's defaults for desc_act differ; g_idx decides when reading, so either is harmless.
  const flags = {
    descAct: flag('desc_act', false),
    symmetric: flag('sym', true),
    lmHead: flag('lm_head', false),
  };
  const dynamic = readDynamic(settings.dynamic, problems);
  if (
    problems.length > 0 ||
    !isGptqBits(bits) ||
    !isGroupSize(groupSize) ||
    !isCheckpointFormat(checkpointFormat)
  ) {
    throw new FormatError(`GPTQ settings that halfbyte cannot read:${listOffenders(problems)}`, {
      file,
      advice: 'quantize the 16-bit model it was made from, or convert it with the tool that made it',
    });
  }
  return { bits, groupSize, checkpointFormat, dynamic, ...flags };
}

function readDynamic(value: unknown, problems: string[]): ReadonlyMap<string, JsonObject> {
  const dynamic = new Map<string, JsonObject>();
  if (value === undefined || value === null || value === false) return dynamic;
  if (!isJsonObject(value)) {
    problems.push(`dynamic: an object expected, ${describeJson(value)} found`);
    return dynamic;
  }
  for (const [pattern, overrides] of Object.entries(value)) {
    if (isJsonObject(overrides)) dynamic.set(pattern, overrides);
    else problems.push(`dynamic["${pattern}"]: an object expected, ${describeJson(overrides)} found`);
  }
  return dynamic;
}

export function isGptqBits(value: unknown): value is GptqBits {
  return GPTQ_BITS.some((bits) => bits === value);
}

function isGroupSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && (value === -1 || value >= 1);
}

function isCheckpointFormat(value: unknown): value is GptqCheckpointFormat {
  return value === 'gptq' || value === 'gptq_v2';
}
