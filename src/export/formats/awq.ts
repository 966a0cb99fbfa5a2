import { gridText } from '../../core/describe-grid.js';
import { Bug, UserError } from '../../core/errors.js';
import type { Grid, QuantizedLinear } from '../../core/quantized-linear.js';
import { AWQ_BITS, awqShapeProblems, encodeAwqLayer } from '../../formats/awq/awq-layer.js';
import type { PlannedTensor } from '../../formats/safetensors/shard-plan.js';
import { bytesOf } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';
import { patchedConfigText } from '../config-text.js';
import { createFolderFormat } from '../folder-format.js';
import type { LinearShape, ModelToWrite, OutputFormat, PlannedLinear } from '../output-format.js';
import { commonGroupSize } from './gptq-config.js';
import { plannedLinears } from '../output-format.js';

/** What GPTQModel's kernels take, through which transformers loads AWQ. */
const LOADER_GROUP_SIZES: readonly number[] = [-1, 16, 32, 64, 128];

/** AutoAWQ's GEMM layout: 4-bit codes, integer zero points, float16 scales. */
export function awqFormat(): OutputFormat {
  return createFolderFormat({
    name: 'awq',
    metadata: { format: 'pt' },
    card: {
      tags: ['awq'],
      libraryName: 'transformers',
      loading: [
        '```python',
        'from transformers import AutoModelForCausalLM, AutoTokenizer',
        '',
        'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder", dtype="float16")',
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        '```',
        '',
        'transformers loads AWQ folders through GPTQModel (`pip install gptqmodel`); vLLM and AutoAWQ read them too.',
      ].join('\n'),
    },
    usualGrid: { symmetric: false },
    problems,
    check,
    tensors,
    encode,
    configFiles: (model) =>
      new Map([
        ['config.json', patchedConfigText(model.configText, model.configJson, awqQuantizationConfig(model))],
      ]),
    notes,
  });
}

function problems(grid: Grid, shape: LinearShape): string[] {
  if (grid.kind !== 'affine') {
    return [
      `awq holds affine grids with integer zero points, not ${gridText(grid)}: bitsandbytes holds nf4 and fp4, gguf its block types, mlx real minima`,
    ];
  }
  return [
    ...(grid.bits === AWQ_BITS
      ? []
      : [`awq holds 4 bits, not ${grid.bits}: gptq holds 2, 3, 4 and 8, compressed-tensors 4 and 8`]),
    ...(grid.reordered
      ? [
          'awq has no g_idx, so groups must be runs of columns: gptq and gptq_v2 hold act-order without static groups',
        ]
      : []),
    ...(grid.scaleDType === 'F16'
      ? []
      : [`awq holds float16 scales, these need ${grid.scaleDType}: compressed-tensors and mlx hold them`]),
    ...awqShapeProblems({ ...shape, groupSize: grid.groupSize }),
  ];
}

/** What one settings object for the whole model cannot say. */
function check(model: ModelToWrite): void {
  const linears = plannedLinears(model);
  const outside = linears.filter(({ name }) => !/\.\d+\./.test(name));
  const reasons = [
    ...(commonGroupSize(model) === undefined
      ? [
          'the linears have different group sizes, awq has one for all: compressed-tensors and gguf hold several',
        ]
      : []),
    ...outside.map(
      ({ name }) => `${name} is quantized, and no loader of awq reads that outside the decoder layers`,
    ),
  ];
  if (reasons.length > 0) {
    throw new UserError(`this model cannot be written as awq:${listOffenders(reasons)}`, {
      advice: 'use one group size and leave the head in 16-bit, or choose another format',
    });
  }
}

export function awqQuantizationConfig(model: ModelToWrite): Record<string, unknown> {
  return {
    quant_method: 'awq',
    bits: AWQ_BITS,
    group_size: commonGroupSize(model) ?? -1,
    zero_point: true,
    version: 'gemm',
    // AutoAWQ and vLLM look for these as parts of a path, transformers from its start: whole paths serve both.
    modules_to_not_convert: model.skipped.length === 0 ? null : [...model.skipped],
  };
}

/** In the order they are written. */
function tensors({ name, outFeatures, inFeatures, grid }: PlannedLinear): PlannedTensor[] {
  if (grid.kind !== 'affine') throw new Bug(`internal: ${grid.kind} planned for an AWQ folder`);
  const groups = inFeatures / grid.groupSize;
  return [
    { name: `${name}.qweight`, dtype: 'I32', shape: [inFeatures, outFeatures / 8] },
    { name: `${name}.qzeros`, dtype: 'I32', shape: [groups, outFeatures / 8] },
    { name: `${name}.scales`, dtype: 'F16', shape: [groups, outFeatures] },
  ];
}

function encode({ name }: PlannedLinear, record: QuantizedLinear): Map<string, Uint8Array> {
  if (record.kind !== 'affine') throw new Bug(`internal: a ${record.kind} record cannot be written as awq`);
  const { qweight, qzeros, scales } = encodeAwqLayer(record, name);
  return new Map([
    [`${name}.qweight`, bytesOf(qweight)],
    [`${name}.qzeros`, bytesOf(qzeros)],
    [`${name}.scales`, bytesOf(scales)],
  ]);
}

function notes(model: ModelToWrite): string[] {
  const groupSize = commonGroupSize(model) ?? -1;
  return [
    'loaders of awq compute in float16, and vLLM refuses bfloat16 unless its Marlin kernel runs: load with dtype float16',
    ...(LOADER_GROUP_SIZES.includes(groupSize)
      ? []
      : [`group size ${groupSize}: transformers (GPTQModel) loads ${LOADER_GROUP_SIZES.join(', ')} only`]),
  ];
}
