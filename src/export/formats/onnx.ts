/**
 * ONNX decoders for onnxruntime, onnxruntime-genai and transformers.js: onnx/model_q4.onnx (float32) or
 * onnx/model_q4f16.onnx (float16) with their weights in files beside them.
 * Memory while writing: one linear, or one chunk of a dense tensor; the graph itself is kilobytes per layer.
 */
import { gridText } from '../../core/describe-grid.js';
import { UserError } from '../../core/errors.js';
import type { Grid } from '../../core/quantized-linear.js';
import { blockSizeFor, isNBits, MIN_BLOCK, NBITS_WIDTHS } from '../../formats/onnx/matmul-nbits.js';
import { HEAD_DIM_MULTIPLE } from '../onnx/attention-graph.js';
import type { ComputeType } from '../onnx/graph-builder.js';
import { graphParts } from '../onnx/onnx-tensors.js';
import { planOnnxFolder } from '../onnx/onnx-folder.js';
import type { LinearShape, ModelToWrite, OutputFormat } from '../output-format.js';

export type OnnxFormatName = 'onnx-q4' | 'onnx-q4f16';

export function onnxFormat(name: OnnxFormatName): OutputFormat {
  const dtype = name === 'onnx-q4' ? 'q4' : 'q4f16';
  const compute: ComputeType = name === 'onnx-q4' ? 'F32' : 'F16';
  return {
    name,
    usualGrid: { groupSize: 32 },
    problems: (grid, shape) => onnxProblems(name, compute, { grid, shape }),
    plan: async (model) => {
      check(name, model);
      return planOnnxFolder(model, { dtype, compute });
    },
    card: {
      tags: ['onnx', 'transformers.js'],
      libraryName: 'transformers.js',
      loading: [
        '```js',
        "import { pipeline } from '@huggingface/transformers';",
        '',
        `const generator = await pipeline('text-generation', 'path/to/this/folder', { dtype: '${dtype}' });`,
        '```',
        '',
        'One prompt at a time, or prompts padded on the right: GroupQueryAttention counts the tokens of a row and takes them to stand at its beginning.',
        '',
        `onnxruntime loads \`onnx/model_${dtype}.onnx\` directly; onnxruntime-genai reads \`genai_config.json\`.`,
      ].join('\n'),
    },
  };
}

interface Candidate {
  readonly grid: Grid;
  readonly shape: LinearShape;
}

function onnxProblems(name: OnnxFormatName, compute: ComputeType, { grid, shape }: Candidate): string[] {
  if (grid.kind !== 'affine')
    return [
      `${name} holds affine grids with integer zero points, not ${gridText(grid)}: bitsandbytes holds nf4 and fp4, gguf its block types, mlx and gguf-q4_1 real minima`,
    ];
  const block = blockSizeFor(grid.groupSize, shape.inFeatures);
  return [
    ...(isNBits(grid.bits)
      ? []
      : [`${name} holds ${NBITS_WIDTHS.join(', ')} bits, not ${grid.bits}: gptq holds 3, mlx 3, 5 and 6`]),
    ...(block === undefined
      ? [
          `${name} holds groups of ${MIN_BLOCK}·2ⁿ columns or multiples of that, not ${grid.groupSize}: gptq holds any group size`,
        ]
      : []),
    ...(grid.reordered
      ? [
          `${name} holds groups of neighbouring columns only, not act-order groups: gptq and compressed-tensors hold them; static groups avoid them`,
        ]
      : []),
    ...(compute === 'F16' && grid.scaleDType !== 'F16'
      ? [`${name} holds float16 scales, these need ${grid.scaleDType}: onnx-q4 holds float32 scales`]
      : []),
    ...((shape.inFeatures * grid.bits) % 32 === 0
      ? []
      : [`${name} packs rows of whole 32-bit words; ${shape.inFeatures} codes of ${grid.bits} bits are not`]),
  ];
}

function check(name: OnnxFormatName, { config, items }: ModelToWrite): void {
  const problems: string[] = [];
  if (config.headDim % HEAD_DIM_MULTIPLE !== 0)
    problems.push(
      `heads of ${config.headDim} values: onnxruntime's GroupQueryAttention takes multiples of ${HEAD_DIM_MULTIPLE}`,
    );
  const there = new Set(
    items.flatMap((item) =>
      item.kind === 'linear'
        ? [item.linear.name]
        : [item.tensor.name, item.tensor.name.replace(/\.weight$/, '')],
    ),
  );
  const missing = graphParts(config).required.filter((part) => !there.has(part));
  if (missing.length > 0) problems.push(`the model lacks ${missing.join(', ')}`);
  const empty = items.filter((item) => item.kind === 'dense' && item.tensor.shape.includes(0));
  if (empty.length > 0) problems.push('the model has empty tensors');
  if (problems.length > 0)
    throw new UserError(`this model cannot be written as ${name}:\n  ${problems.join('\n  ')}`, {
      advice: 'choose another format: gguf, gptq, mlx or hf',
    });
}
