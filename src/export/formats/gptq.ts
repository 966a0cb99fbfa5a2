import type { Grid, QuantizedLinear } from '../../core/quantized-linear.js';
import { Bug, UserError } from '../../core/errors.js';
import { gridText } from '../../core/describe-grid.js';
import { GPTQ_BITS, isGptqBits } from '../../formats/gptq/gptq-config.js';
import type { GptqCheckpointFormat } from '../../formats/gptq/gptq-layer.js';
import { encodeGptqLayer } from '../../formats/gptq/gptq-layer.js';
import type { PlannedTensor } from '../../formats/safetensors/shard-plan.js';
import { bytesOf } from '../../io/byte-views.js';
import { jsonText, patchedConfigText } from '../config-text.js';
import { createFolderFormat } from '../folder-format.js';
import { transformersLoading } from '../model-card.js';
import type { LinearShape, ModelToWrite, OutputFormat, PlannedLinear } from '../output-format.js';
import {
  commonGroupSize,
  gptqQuantizationConfig,
  partlySkippedNames,
  quantizedNames,
} from './gptq-config.js';

/** Rows and columns of packed words: 3-bit codes fill words only by 32. */
const PACKING_MULTIPLE = 32;

/** AutoGPTQ's and GPTQModel's safetensors; v1 stores zero − 1 and so holds symmetric grids only, v2 holds both. */
export function gptqFormat(version: GptqCheckpointFormat): OutputFormat {
  return createFolderFormat({
    name: version,
    metadata: { format: 'pt' },
    card: {
      tags: ['gptq'],
      libraryName: 'transformers',
      loading: transformersLoading(
        'transformers loads GPTQ folders through GPTQModel (`pip install gptqmodel optimum`).',
      ),
    },
    problems: (grid, shape) => gptqProblems(version, grid, shape),
    tensors: gptqTensors,
    encode: ({ name }, record) => encode(name, record, version),
    check,
    configFiles: (model) => {
      const quantization = gptqQuantizationConfig(model, version);
      return new Map([
        ['config.json', patchedConfigText(model.configText, model.configJson, quantization)],
        ['quantize_config.json', jsonText(quantization)],
      ]);
    },
    notes: (model) => loaderNotes(model, version),
  });
}

function gptqProblems(
  version: GptqCheckpointFormat,
  grid: Grid,
  { outFeatures, inFeatures }: LinearShape,
): string[] {
  if (grid.kind !== 'affine')
    return [
      `${version} holds affine grids with integer zero points, not ${gridText(grid)}: bitsandbytes holds nf4 and fp4, gguf its block types, mlx real minima`,
    ];
  return [
    ...(isGptqBits(grid.bits) ? [] : [`${version} holds ${GPTQ_BITS.join(', ')} bits, not ${grid.bits}`]),
    ...(version === 'gptq' && !grid.symmetric
      ? ['gptq (v1) cannot hold a zero point of 0, which asymmetric grids may have: use gptq_v2']
      : []),
    ...(grid.scaleDType === 'F16' ? [] : [`${version} holds float16 scales, these need ${grid.scaleDType}`]),
    ...(inFeatures % PACKING_MULTIPLE === 0
      ? []
      : [`in_features ${inFeatures} is not a multiple of ${PACKING_MULTIPLE}, as GPTQ's packing needs`]),
    ...(outFeatures % PACKING_MULTIPLE === 0
      ? []
      : [`out_features ${outFeatures} is not a multiple of ${PACKING_MULTIPLE}, as GPTQ's packing needs`]),
  ];
}

function check(model: ModelToWrite): void {
  const widths = new Set(
    model.items.flatMap((item) => (item.kind === 'linear' ? [bitsOf(item.linear)] : [])),
  );
  if (widths.size > 1 || commonGroupSize(model) === undefined)
    throw new UserError(
      'the linears have different bit widths or group sizes, which GPTQ folders cannot say',
      {
        advice: 'use one grid for all linears, or another format (gguf, mlx)',
      },
    );
}

function bitsOf({ grid }: PlannedLinear): number {
  if (grid.kind !== 'affine') throw new Bug(`internal: ${grid.kind} planned for a GPTQ folder`);
  return grid.bits;
}

/** The four tensors of one linear, in the order they are written. */
export function gptqTensors({ name, outFeatures, inFeatures, grid }: PlannedLinear): PlannedTensor[] {
  if (grid.kind !== 'affine') throw new Bug(`internal: ${grid.kind} planned for a GPTQ folder`);
  const { bits, groupSize } = grid;
  const groups = inFeatures / groupSize;
  return [
    { name: `${name}.qweight`, dtype: 'I32', shape: [(inFeatures * bits) / 32, outFeatures] },
    { name: `${name}.qzeros`, dtype: 'I32', shape: [groups, (outFeatures * bits) / 32] },
    { name: `${name}.scales`, dtype: 'F16', shape: [groups, outFeatures] },
    { name: `${name}.g_idx`, dtype: 'I32', shape: [inFeatures] },
  ];
}

function encode(
  module: string,
  record: QuantizedLinear,
  version: GptqCheckpointFormat,
): Map<string, Uint8Array> {
  if (record.kind !== 'affine' || !isGptqBits(record.bits))
    throw new Bug(`internal: a ${record.kind} record cannot be written as ${version}`);
  const tensors = encodeGptqLayer({ ...record, bits: record.bits }, module, version);
  return new Map([
    [`${module}.qweight`, bytesOf(tensors.qweight)],
    [`${module}.qzeros`, bytesOf(tensors.qzeros)],
    [`${module}.scales`, bytesOf(tensors.scales)],
    [`${module}.g_idx`, bytesOf(tensors.gIdx)],
  ]);
}

function loaderNotes(model: ModelToWrite, version: GptqCheckpointFormat): string[] {
  const quantized = quantizedNames(model);
  const partly = partlySkippedNames(quantized, model.skipped);
  return [
    ...(partly.length === 0
      ? []
      : [
          `${partly.join(', ')} stay in 16-bit in some layers only: GPTQModel and vLLM can load that, transformers cannot`,
        ]),
    ...(quantized.includes('lm_head')
      ? ['lm_head is quantized as well: GPTQModel and vLLM read that, transformers does not']
      : []),
    ...(version === 'gptq_v2'
      ? ['checkpoint_format gptq_v2: GPTQModel and vLLM read it, older loaders may not']
      : []),
  ];
}
