/** `quantization_config` of bitsandbytes checkpoints. Source: transformers utils/quantization_config.py, BitsAndBytesConfig. */
import { FormatError } from '../../core/errors.js';
import type { CodebookName } from '../../core/quantized-linear.js';
import type { JsonObject } from '../../io/json.js';
import { describeJson } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';

/** FormatError listing what halfbyte cannot read: 8-bit models (LLM.int8), unknown codebooks. */
export function parseBitsandbytesConfig(settings: JsonObject, file: string): void {
  const problems: string[] = [];
  const four = settings.load_in_4bit ?? settings._load_in_4bit;
  const eight = settings.load_in_8bit ?? settings._load_in_8bit;
  if (eight === true) problems.push('load_in_8bit: weights of LLM.int8 are not read');
  else if (four !== true) problems.push(`load_in_4bit: true expected, ${describeJson(four)} found`);
  const type = settings.bnb_4bit_quant_type ?? 'fp4';
  if (type !== 'nf4' && type !== 'fp4')
    problems.push(`bnb_4bit_quant_type: "nf4" or "fp4" expected, ${describeJson(type)} found`);
  if (problems.length > 0)
    throw new FormatError(`bitsandbytes settings that halfbyte cannot read:${listOffenders(problems)}`, {
      file,
      advice: 'use the 16-bit model it was made from',
    });
}

export interface BitsandbytesSettings {
  readonly codebook: CodebookName;
  readonly doubleQuant: boolean;
  /** Dtype that the consumer computes in, such as "bfloat16". */
  readonly computeDType: string;
  /** Module paths left alone; without lm_head here it would be taken for quantized. */
  readonly skippedModules: readonly string[];
}

/** The object as transformers writes it. The threshold must read 6.0 in the file: see `withFloatThreshold`. */
export function bitsandbytesConfig(settings: BitsandbytesSettings): Record<string, unknown> {
  return {
    _load_in_4bit: true,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: settings.computeDType,
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: settings.codebook,
    bnb_4bit_use_double_quant: settings.doubleQuant,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: [...settings.skippedModules],
    llm_int8_threshold: 6,
    load_in_4bit: true,
    load_in_8bit: false,
    quant_method: 'bitsandbytes',
  };
}

/** JSON text with the last llm_int8_threshold as a float: transformers refuses an integer there. */
export function withFloatThreshold(text: string): string {
  const key = '"llm_int8_threshold": 6';
  const at = text.lastIndexOf(key) + key.length;
  return `${text.slice(0, at)}.0${text.slice(at)}`;
}
