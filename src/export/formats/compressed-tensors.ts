import { gridText } from '../../core/describe-grid.js';
import { Bug } from '../../core/errors.js';
import type { Grid, QuantizedLinear } from '../../core/quantized-linear.js';
import type { PackedBits } from '../../formats/compressed-tensors/pack-quantized-layer.js';
import {
  encodePackedLayer,
  isPackedBits,
  packedShapeProblems,
} from '../../formats/compressed-tensors/pack-quantized-layer.js';
import type { PlannedTensor } from '../../formats/safetensors/shard-plan.js';
import { bytesOf } from '../../io/byte-views.js';
import { patchedConfigText } from '../config-text.js';
import { createFolderFormat } from '../folder-format.js';
import { transformersLoading } from '../model-card.js';
import type { LinearShape, ModelToWrite, OutputFormat, PlannedLinear } from '../output-format.js';
import { compressedTensorsConfig, compressedTensorsGroups } from './compressed-tensors-config.js';
import { plannedLinears } from '../output-format.js';

/**
 * compressed-tensors, "pack-quantized": W4A16 and W8A16 by group or channel. Scales are stored in the narrowest dtype that
 * holds them, not in the model's: a loader that runs in float32 or float16 then has our codes' very numbers.
 */
export function compressedTensorsFormat(): OutputFormat {
  return createFolderFormat({
    name: 'compressed-tensors',
    metadata: { format: 'pt' },
    card: {
      tags: ['compressed-tensors'],
      libraryName: 'transformers',
      loading: transformersLoading(
        'transformers needs `pip install compressed-tensors`; vLLM reads the folder as it is.',
      ),
    },
    problems,
    tensors,
    encode,
    configFiles: (model) =>
      new Map([
        [
          'config.json',
          patchedConfigText(model.configText, model.configJson, compressedTensorsConfig(model)),
        ],
      ]),
    notes,
  });
}

function problems(grid: Grid, { inFeatures }: LinearShape): string[] {
  if (grid.kind !== 'affine') {
    return [
      `compressed-tensors holds affine grids with integer zero points, not ${gridText(grid)}: bitsandbytes holds nf4 and fp4, gguf its block types, mlx real minima`,
    ];
  }
  const { bits, groupSize, reordered } = grid;
  return [
    ...(isPackedBits(bits)
      ? packedShapeProblems({ inFeatures, groupSize, bits })
      : [
          `compressed-tensors holds 4 and 8 bits, its releases disagree about packing ${bits}: gptq holds 2, 3, 4 and 8, mlx 2, 3, 4, 6 and 8`,
        ]),
    ...(reordered
      ? [
          'compressed-tensors no longer loads act-order with moving groups (weight_g_idx): quantize with static groups, or write gptq or gptq_v2',
        ]
      : []),
  ];
}

/** In the order they are written. */
function tensors(linear: PlannedLinear): PlannedTensor[] {
  const { name, outFeatures, inFeatures } = linear;
  const { bits, groupSize, symmetric, scaleDType } = packedGrid(linear);
  const groups = inFeatures / groupSize;
  const zeroRows = Math.ceil((outFeatures * bits) / 32);
  return [
    { name: `${name}.weight_packed`, dtype: 'I32', shape: [outFeatures, (inFeatures * bits) / 32] },
    { name: `${name}.weight_scale`, dtype: scaleDType, shape: [outFeatures, groups] },
    // vLLM has no place for zero points of a symmetric scheme.
    ...(symmetric
      ? []
      : [{ name: `${name}.weight_zero_point`, dtype: 'I32', shape: [zeroRows, groups] } as const]),
    { name: `${name}.weight_shape`, dtype: 'I64', shape: [2] },
  ];
}

function encode(linear: PlannedLinear, record: QuantizedLinear): Map<string, Uint8Array> {
  const { name } = linear;
  if (record.kind !== 'affine') throw new Bug(`internal: a ${record.kind} record cannot be packed`);
  const { packed, scale, zeroPoint, shape } = encodePackedLayer(record, name, packedGrid(linear));
  return new Map([
    [`${name}.weight_packed`, bytesOf(packed)],
    [`${name}.weight_scale`, scale],
    ...(zeroPoint === undefined ? [] : [[`${name}.weight_zero_point`, bytesOf(zeroPoint)] as const]),
    [`${name}.weight_shape`, bytesOf(shape)],
  ]);
}

function packedGrid({
  grid,
}: PlannedLinear): Extract<Grid, { readonly kind: 'affine' | 'affine-min' }> & { readonly bits: PackedBits } {
  if (grid.kind !== 'affine' || !isPackedBits(grid.bits))
    throw new Bug(`internal: ${gridText(grid)} planned for a compressed-tensors folder`);
  return { ...grid, bits: grid.bits };
}

/** Seen with transformers 5.23 and compressed-tensors 0.20. */
function notes(model: ModelToWrite): string[] {
  const linears = plannedLinears(model);
  const grids = linears.flatMap(({ grid }) => (grid.kind === 'affine' ? [grid] : []));
  const isMixed = compressedTensorsGroups(model).length > 1;
  const isRounded =
    grids.some(({ scaleDType }) => scaleDType === 'F16') &&
    linears.some(({ sourceDType }) => sourceDType === 'BF16');
  return [
    ...(isRounded
      ? ['a loader that runs in bfloat16 rounds the float16 scales; float16 and float32 keep them exact']
      : []),
    ...(grids.every(({ symmetric }) => symmetric)
      ? []
      : [
          'asymmetric weights: transformers loads them with quantization_config=CompressedTensorsConfig(dequantize=True) only, as it does what compressed-tensors writes itself',
        ]),
    ...(isMixed
      ? [
          'several schemes: transformers must not be asked to dequantize at load time, it would apply the first to all',
        ]
      : []),
  ];
}
