/**
 * The settings of an AWQ checkpoint as any tool may have written them: `quantization_config` in config.json, with the
 * keys of transformers or AutoAWQ's first ones (w_bit, q_group_size). Sources: AutoAWQ awq/models/_config.py, GPTQModel's
 * gptqmodel/quantization/config.py, transformers utils/quantization_config.py. Writing is export's.
 */
import { FormatError } from '../../core/errors.js';
import type { JsonObject } from '../../io/json.js';
import { describeJson } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';

export interface AwqConfig {
  /** Columns per group; −1 for one group per output channel. */
  readonly groupSize: number;
}

/** Whether these are settings of AWQ, in either spelling. */
export function isAwqConfig(settings: JsonObject): boolean {
  const method = settings.quant_method ?? settings.method;
  if (method !== undefined) return method === 'awq';
  return settings.w_bit !== undefined && settings.q_group_size !== undefined;
}

/**
 * Reads the settings found in `file`. FormatError lists all that is unsupported: bits other than 4, a packing other than
 * GEMM.
 */
export function parseAwqConfig(settings: JsonObject, file: string): AwqConfig {
  const problems: string[] = [];
  const bits = settings.bits ?? settings.w_bit;
  if (bits !== 4) problems.push(`bits: 4 expected, ${describeJson(bits)} found`);
  const version = settings.version ?? settings.format ?? settings.checkpoint_format ?? 'gemm';
  if (typeof version !== 'string' || version.toLowerCase() !== 'gemm')
    problems.push(`version: "gemm" expected, ${describeJson(version)} found`);
  const groupSize = settings.group_size ?? settings.q_group_size;
  const hasGroupSize =
    typeof groupSize === 'number' && Number.isSafeInteger(groupSize) && (groupSize === -1 || groupSize >= 1);
  if (!hasGroupSize) problems.push(`group_size: −1 or positive expected, ${describeJson(groupSize)} found`);
  const packing = settings.pack_dtype ?? 'int32';
  if (packing !== 'int32') problems.push(`pack_dtype: "int32" expected, ${describeJson(packing)} found`);
  if (problems.length > 0 || !hasGroupSize) {
    throw new FormatError(`AWQ settings that halfbyte cannot read:${listOffenders(problems)}`, {
      file,
      advice: 'quantize the 16-bit model it was made from, or convert it with the tool that made it',
    });
  }
  return { groupSize };
}
