import { gridText } from '../../core/describe-grid.js';
import { Bug } from '../../core/errors.js';
import type { Grid, QuantizedLinear } from '../../core/quantized-linear.js';
import type { MlxScaleDType } from '../../formats/mlx/mlx-layer.js';
import { encodeMlxLayer, mlxScaleDType, mlxShapeProblems } from '../../formats/mlx/mlx-layer.js';
import type { PlannedTensor } from '../../formats/safetensors/shard-plan.js';
import { bytesOf } from '../../io/byte-views.js';
import type { JsonObject } from '../../io/json.js';
import { jsonText, patchedConfigText } from '../config-text.js';
import { createFolderFormat } from '../folder-format.js';
import type { LinearShape, ModelToWrite, OutputFormat, PlannedLinear } from '../output-format.js';
import { plannedLinears } from '../output-format.js';

/** Folders for mlx-lm: affine codes with real offsets, groups of 32, 64 or 128 columns. */
export function mlxFormat(): OutputFormat {
  return createFolderFormat({
    name: 'mlx',
    metadata: { format: 'mlx' },
    card: {
      tags: ['mlx'],
      libraryName: 'mlx',
      loading: [
        '```python',
        'from mlx_lm import generate, load',
        '',
        'model, tokenizer = load("path/to/this/folder")',
        'print(generate(model, tokenizer, prompt="Once upon a time"))',
        '```',
        '',
        'Needs `pip install mlx-lm` (on Linux also `mlx-cpu`).',
      ].join('\n'),
    },
    usualGrid: { groupSize: 64 },
    problems: mlxProblems,
    tensors: mlxTensors,
    encode: ({ name, grid }, record) => encode(name, record, scaleDTypeOf(grid)),
    configFiles: (model) => new Map([['config.json', mlxConfigText(model)]]),
    notes,
  });
}

function mlxProblems(grid: Grid, { outFeatures, inFeatures }: LinearShape): string[] {
  if (grid.kind !== 'affine' && grid.kind !== 'affine-min')
    return [
      `mlx holds affine grids, not ${gridText(grid)}: bitsandbytes holds nf4 and fp4, gguf its block types`,
    ];
  return [
    ...mlxShapeProblems({ outFeatures, inFeatures, bits: grid.bits, groupSize: grid.groupSize }),
    ...(grid.reordered
      ? [
          'mlx needs groups that are runs of columns, not act-order groups: use --static-groups or no act-order, or gptq, which holds these',
        ]
      : []),
    ...(mlxScaleDType(grid) === undefined
      ? [
          'float32 scales with asymmetric zero points have no exact float32 biases: compressed-tensors holds these, or use float16 scales',
        ]
      : []),
  ];
}

function scaleDTypeOf(grid: Grid): MlxScaleDType {
  const dtype = grid.kind === 'affine' || grid.kind === 'affine-min' ? mlxScaleDType(grid) : undefined;
  if (dtype === undefined) throw new Bug(`internal: ${gridText(grid)} planned for an MLX folder`);
  return dtype;
}

/** The three tensors of one linear, in the order they are written. */
function mlxTensors({ name, outFeatures, inFeatures, grid }: PlannedLinear): PlannedTensor[] {
  const dtype = scaleDTypeOf(grid);
  const { bits, groupSize } = affine(grid);
  const perGroup = [outFeatures, inFeatures / groupSize];
  return [
    { name: `${name}.weight`, dtype: 'U32', shape: [outFeatures, (inFeatures * bits) / 32] },
    { name: `${name}.scales`, dtype, shape: perGroup },
    { name: `${name}.biases`, dtype, shape: perGroup },
  ];
}

function affine(grid: Grid): Extract<Grid, { kind: 'affine' | 'affine-min' }> {
  if (grid.kind === 'affine' || grid.kind === 'affine-min') return grid;
  throw new Bug(`internal: ${grid.kind} planned for an MLX folder`);
}

function encode(module: string, record: QuantizedLinear, dtype: MlxScaleDType): Map<string, Uint8Array> {
  if (record.kind !== 'affine' && record.kind !== 'affine-min')
    throw new Bug(`internal: a ${record.kind} record cannot be written as mlx`);
  const { weight, scales, biases } = encodeMlxLayer(record, module, dtype);
  return new Map([
    [`${module}.weight`, bytesOf(weight)],
    [`${module}.scales`, scales],
    [`${module}.biases`, biases],
  ]);
}

/** config.json with the settings under both names, mlx-lm reads `quantization`; the text is kept as patchedConfigText does. */
function mlxConfigText(model: ModelToWrite): string {
  const settings = quantizationSettings(model);
  const { configText, configJson } = model;
  const added = { ...impliedKeys(model), quantization: settings };
  if (Object.keys(added).some((key) => Object.hasOwn(configJson, key)))
    return jsonText({ ...configJson, ...added, quantization_config: settings });
  const text = patchedConfigText(configText, configJson, settings);
  const lines = JSON.stringify(added, null, 2).slice(1, -1).trimEnd();
  return `${text.slice(0, text.lastIndexOf('}')).trimEnd()},${lines}\n}\n`;
}

/**
 * What config.json leaves to defaults that mlx-lm does not share: its llama, mistral and qwen2 do not know transformers 5's
 * rope_parameters, its llama takes heads for tied and its qwen2 a theta of 10⁶ (mlx_lm/models/llama.py, qwen2.py).
 */
function impliedKeys({ config, configJson }: ModelToWrite): JsonObject {
  const { rope, tieWordEmbeddings, numKeyValueHeads } = config;
  const implied: [string, unknown][] = [
    ['rope_theta', rope.theta],
    ['rope_scaling', rope.scaling.type === 'default' ? undefined : configJson.rope_parameters],
    ['tie_word_embeddings', tieWordEmbeddings],
    ['num_key_value_heads', numKeyValueHeads],
  ];
  return Object.fromEntries(
    implied.filter(([key, value]) => (configJson[key] ?? null) === null && value !== undefined),
  );
}

type Settings = Record<string, unknown>;

/** The commonest grid as default, modules on another by name, false for tables and linears that stay dense. */
function quantizationSettings({ items }: ModelToWrite): Settings {
  const linears = plannedLinears({ items });
  const defaults = commonest(linears.map(({ grid }) => affine(grid)));
  const modules = items.flatMap((item): [string, unknown][] => {
    if (item.kind === 'dense') {
      const { name, shape } = item.tensor;
      return shape.length === 2 && name.endsWith('.weight')
        ? [[name.slice(0, -'.weight'.length), false]]
        : [];
    }
    const { bits, groupSize } = affine(item.linear.grid);
    const isDefault = bits === defaults.bits && groupSize === defaults.groupSize;
    return isDefault ? [] : [[item.linear.name, { group_size: groupSize, bits }]];
  });
  return {
    group_size: defaults.groupSize,
    bits: defaults.bits,
    mode: 'affine',
    ...Object.fromEntries(modules),
  };
}

interface Defaults {
  readonly bits: number;
  readonly groupSize: number;
}

function commonest(grids: readonly Defaults[]): Defaults {
  const counts = new Map<string, { count: number; grid: Defaults }>();
  for (const grid of grids) {
    const key = `${grid.bits} ${grid.groupSize}`;
    counts.set(key, { grid, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  const best = [...counts.values()].sort((a, b) => b.count - a.count)[0] as { grid: Defaults } | undefined;
  return best?.grid ?? { bits: 4, groupSize: 64 };
}

const DTYPE_NAMES: Readonly<Record<MlxScaleDType, string>> = {
  F16: 'float16',
  BF16: 'bfloat16',
  F32: 'float32',
};

function notes({ config, configJson, items }: ModelToWrite): string[] {
  const modelDType = configJson.dtype ?? configJson.torch_dtype;
  const dtypes = new Set(
    items.flatMap((item) => (item.kind === 'linear' ? [DTYPE_NAMES[scaleDTypeOf(item.linear.grid)]] : [])),
  );
  const other = [...dtypes].filter((dtype) => dtype !== modelDType);
  const windows = new Set(config.slidingWindows.filter((window) => window !== undefined));
  return [
    ...(other.length === 0 || typeof modelDType !== 'string'
      ? []
      : [
          `scales are ${other.join(' and ')} in a ${modelDType} model, so that they are exact: mlx computes its activations in float32`,
        ]),
    ...(windows.size === 0
      ? []
      : [
          `mlx-lm knows no sliding window for ${config.modelType}: beyond ${[...windows].join(' and ')} tokens its answers are not those of the model`,
        ]),
  ];
}
