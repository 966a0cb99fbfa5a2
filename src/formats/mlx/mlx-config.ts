/**
 * The settings of an MLX folder: `quantization` in config.json (`quantization_config` repeats it and is not read), with
 * entries by module path beside the defaults. Source: mlx-lm mlx_lm/utils.py load_model. Writing is export's.
 */
import { FormatError } from '../../core/errors.js';
import type { JsonObject } from '../../io/json.js';
import { describeJson, isJsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';

/** Widths and group sizes of mlx.core.quantize in mode "affine". */
export const MLX_BITS = [2, 3, 4, 5, 6, 8] as const;
export type MlxBits = (typeof MLX_BITS)[number];
export const MLX_GROUP_SIZES = [32, 64, 128] as const;
export type MlxGroupSize = (typeof MLX_GROUP_SIZES)[number];

export interface MlxGrid {
  readonly bits: MlxBits;
  readonly groupSize: MlxGroupSize;
}

export interface MlxConfig extends MlxGrid {
  /** Grids of single modules by path; null for modules said to stay dense. */
  readonly modules: ReadonlyMap<string, MlxGrid | null>;
}

export function isMlxBits(value: unknown): value is MlxBits {
  return MLX_BITS.some((bits) => bits === value);
}

export function isMlxGroupSize(value: unknown): value is MlxGroupSize {
  return MLX_GROUP_SIZES.some((size) => size === value);
}

/** Whether this config.json is of a folder quantized by mlx; other methods name themselves by quant_method. */
export function isMlxConfig({ quantization, quantization_config: other }: JsonObject): boolean {
  const method = isJsonObject(other) ? (other.quant_method ?? other.method ?? null) : null;
  return quantization !== undefined && quantization !== null && method === null;
}

/**
 * Reads the settings in config.json, called `file` in messages. FormatError lists all that is unsupported: modes other
 * than affine, widths and group sizes that mlx does not know, for the defaults and for every module.
 */
export function parseMlxConfig(config: JsonObject, file: string): MlxConfig {
  const settings = config.quantization;
  const problems: string[] = [];
  if (!isJsonObject(settings)) {
    throw new FormatError(`quantization: an object expected, ${describeJson(settings)} found`, { file });
  }
  const defaults = readGrid(settings, 'quantization', problems);
  const modules = new Map<string, MlxGrid | null>();
  for (const [name, value] of Object.entries(settings)) {
    if (isJsonObject(value)) modules.set(name, readGrid({ ...settings, ...value }, name, problems));
    else if (value === false) modules.set(name, null);
  }
  if (problems.length > 0) {
    throw new FormatError(`MLX settings that halfbyte cannot read:${listOffenders(problems)}`, {
      file,
      advice:
        'quantize the 16-bit model it was made from, or dequantize it with `mlx_lm.convert --dequantize`',
    });
  }
  return { ...defaults, modules };
}

function readGrid(settings: JsonObject, where: string, problems: string[]): MlxGrid {
  const { bits, group_size: groupSize } = settings;
  const mode = settings.mode ?? 'affine';
  if (mode !== 'affine') {
    problems.push(`${where}.mode: "affine" expected, ${describeJson(mode)} found`);
    return { bits: 4, groupSize: 64 };
  }
  const known = isMlxBits(bits) && isMlxGroupSize(groupSize);
  if (!isMlxBits(bits))
    problems.push(`${where}.bits: ${MLX_BITS.join(', ')} expected, ${describeJson(bits)} found`);
  if (!isMlxGroupSize(groupSize))
    problems.push(
      `${where}.group_size: ${MLX_GROUP_SIZES.join(', ')} expected, ${describeJson(groupSize)} found`,
    );
  return known ? { bits, groupSize } : { bits: 4, groupSize: 64 };
}
