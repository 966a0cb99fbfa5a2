/**
 * The settings of a compressed-tensors checkpoint, `quantization_config` in config.json: which module is packed by which
 * scheme. Only weights in "pack-quantized" are read. Source: compressed_tensors/quantization/{quant_config,quant_scheme,
 * quant_args}.py, utils/match.py. Writing is export's.
 */
import { FormatError } from '../../core/errors.js';
import type { JsonObject } from '../../io/json.js';
import { describeJson, isJsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { PackScheme } from './pack-quantized-layer.js';
import { isPackedBits } from './pack-quantized-layer.js';

export const PACK_QUANTIZED = 'pack-quantized';

export interface PackedConfig {
  readonly schemes: readonly PackScheme[];
  /** The scheme of a module, or undefined where no target names it or `ignore` does. */
  readonly schemeOf: (module: string) => PackScheme | undefined;
}

/** A class name, a module path or "re:" with a regular expression matched from the start of the path. */
interface Target {
  readonly text: string;
  readonly pattern: RegExp | undefined;
}

interface SchemeGroup {
  readonly targets: readonly Target[];
  readonly scheme: PackScheme;
}

/**
 * Reads the settings found in `file`. FormatError lists all that is unsupported: other formats than pack-quantized,
 * activations, transforms, sparsity, widths other than 4 and 8, strategies other than group and channel.
 */
export function parsePackedConfig(settings: JsonObject, file: string): PackedConfig {
  const problems = [...otherCompressions(settings)];
  const groups: SchemeGroup[] = [];
  const entries = isJsonObject(settings.config_groups) ? Object.entries(settings.config_groups) : [];
  if (entries.length === 0)
    problems.push(`config_groups: one group or more expected, ${describeJson(settings.config_groups)} found`);
  for (const [name, group] of entries) {
    const parsed = readGroup(group, settings.format, (problem) =>
      problems.push(`config_groups.${name}.${problem}`),
    );
    if (parsed !== undefined) groups.push(parsed);
  }
  const ignore = readTargets(settings.ignore ?? [], (problem) => problems.push(`ignore: ${problem}`));
  if (problems.length > 0) {
    throw new FormatError(
      `compressed-tensors settings that halfbyte cannot read:${listOffenders(problems)}`,
      {
        file,
        advice: 'quantize the 16-bit model it was made from, or convert it with the tool that made it',
      },
    );
  }
  return {
    schemes: groups.map(({ scheme }) => scheme),
    schemeOf: (module) => (ranks(module, ignore).length > 0 ? undefined : bestGroup(module, groups)?.scheme),
  };
}

/** The group whose target names the module most closely: its path, else a pattern, else its class. */
function bestGroup(module: string, groups: readonly SchemeGroup[]): SchemeGroup | undefined {
  const ranked = groups.flatMap((group) => ranks(module, group.targets).map((rank) => ({ group, rank })));
  return ranked.sort((a, b) => a.rank - b.rank)[0]?.group;
}

function ranks(module: string, targets: readonly Target[]): number[] {
  const classes = /(^|\.)(embed_tokens|wte|word_embeddings)$/.test(module)
    ? ['Embedding']
    : ['Linear', 'LinearBase'];
  return targets.flatMap(({ text, pattern }) => {
    if (text === module) return [0];
    if (pattern !== undefined) return pattern.test(module) ? [1] : [];
    return classes.includes(text) ? [2] : [];
  });
}

/** What besides weights is compressed or transformed; it would change the meaning of the weights or of the forward pass. */
function otherCompressions(settings: JsonObject): string[] {
  const { sparsity_config: sparsity, transform_config: transform } = settings;
  const isSparse = isJsonObject(sparsity) && (sparsity.format ?? 'dense') !== 'dense';
  const transforms =
    isJsonObject(transform) && isJsonObject(transform.config_groups) ? transform.config_groups : {};
  return [
    ...(isSparse ? [`sparsity_config.format: "dense" expected, ${describeJson(sparsity.format)} found`] : []),
    ...(Object.keys(transforms).length > 0
      ? ['transform_config: transforms inside the forward pass are not supported']
      : []),
  ];
}

function readGroup(
  group: unknown,
  commonFormat: unknown,
  report: (problem: string) => void,
): SchemeGroup | undefined {
  if (!isJsonObject(group)) {
    report(`an object expected, ${describeJson(group)} found`);
    return undefined;
  }
  const format = group.format ?? commonFormat;
  if (format !== PACK_QUANTIZED)
    report(`format: "${PACK_QUANTIZED}" expected, ${describeJson(format)} found`);
  for (const key of ['input_activations', 'output_activations'] as const) {
    if ((group[key] ?? null) !== null) report(`${key}: quantized activations are not supported`);
  }
  const targets = readTargets(group.targets, (problem) => {
    report(`targets: ${problem}`);
  });
  if (!isJsonObject(group.weights)) {
    report(`weights: an object expected, ${describeJson(group.weights)} found`);
    return undefined;
  }
  const scheme = readScheme(group.weights, (problem) => {
    report(`weights.${problem}`);
  });
  return scheme === undefined ? undefined : { targets, scheme };
}

function readScheme(weights: JsonObject, report: (problem: string) => void): PackScheme | undefined {
  const {
    num_bits: bits,
    type = 'int',
    symmetric = true,
    dynamic = false,
    group_size: size = null,
  } = weights;
  const expect = (key: string, holds: boolean, expected: string, value: unknown): void => {
    if (!holds) report(`${key}: ${expected} expected, ${describeJson(value)} found`);
  };
  expect('num_bits', isPackedBits(bits), '4 or 8', bits);
  expect('type', typeof type === 'string' && type.toLowerCase() === 'int', '"int"', type);
  expect('symmetric', typeof symmetric === 'boolean', 'true or false', symmetric);
  expect('dynamic', dynamic === false, 'false', dynamic);
  const hasSize = typeof size === 'number' && Number.isSafeInteger(size) && size >= 1;
  const strategy = weights.strategy ?? (hasSize ? 'group' : size === -1 ? 'channel' : 'tensor');
  expect('strategy', strategy === 'group' || strategy === 'channel', '"group" or "channel"', strategy);
  if (strategy === 'group') expect('group_size', hasSize, 'a positive number', size);
  if (!isPackedBits(bits) || typeof symmetric !== 'boolean') return undefined;
  return { bits, symmetric, groupSize: strategy === 'group' && hasSize ? size : -1 };
}

function readTargets(value: unknown, report: (problem: string) => void): Target[] {
  if (!Array.isArray(value)) {
    report(`a list expected, ${describeJson(value)} found`);
    return [];
  }
  return (value as unknown[]).flatMap((text) => {
    if (typeof text !== 'string') {
      report(`names expected, ${describeJson(text)} found`);
      return [];
    }
    if (!text.startsWith('re:')) return [{ text, pattern: undefined }];
    const pattern = compile(text.slice('re:'.length));
    if (pattern === undefined) report(`${text} is no regular expression that halfbyte understands`);
    return [{ text, pattern }];
  });
}

/** Python's re.match: from the start, anything behind. */
function compile(source: string): RegExp | undefined {
  try {
    return new RegExp(`^(?:${source})`);
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined;
    throw cause;
  }
}
