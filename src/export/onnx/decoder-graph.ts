/**
 * A decoder as a graph of onnxruntime's operators, as its own model builder (onnxruntime-genai) makes them and
 * transformers.js runs them. Every tensor of the checkpoint is an initializer under its Hugging Face name; a linear on a
 * grid has `<module>.weight_Q<bits>`, `.weight_scales` and `.weight_zero_points` instead of `<module>.weight`.
 *
 * inputs  input_ids, attention_mask i64 · past_key_values.<i>.key/value [batch, kv heads, past, E]
 * outputs logits f32 [batch, sequence, V] · present.<i>.key/value [batch, kv heads, total, E]
 */
import type { OnnxGraph, OnnxValue } from '../../formats/onnx/onnx-model.js';
import { ONNX_TYPES } from '../../formats/onnx/onnx-model.js';
import type { ModelConfig } from '../../model/types.js';
import { createAttention } from './attention-graph.js';
import type { ComputeType } from './graph-builder.js';
import { GraphBuilder } from './graph-builder.js';
import type { GraphContext, GraphWeights } from './graph-context.js';
import { EMBEDDING, FINAL_NORM } from './graph-context.js';
import type { Linears } from './linear-graph.js';
import { createLinears } from './linear-graph.js';

export function buildDecoderGraph(
  config: ModelConfig,
  compute: ComputeType,
  weights: GraphWeights,
): OnnxGraph {
  const builder = new GraphBuilder();
  const context: GraphContext = { builder, config, compute, weights };
  const linears = createLinears(context);
  const attend = createAttention(context, linears);
  let hidden = embed(context);
  let normed = builder.add('/model/layers.0/input_layernorm', 'SimplifiedLayerNormalization', {
    inputs: [hidden, 'model.layers.0.input_layernorm.weight'],
    attributes: { axis: { int: -1 }, stash_type: { int: 1 }, epsilon: { float: config.rmsNormEps } },
  });
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    const module = `model.layers.${layer}`;
    const mixed = attend(normed, layer);
    const middle = addAndNorm(context, {
      hidden,
      added: mixed,
      norm: `${module}.post_attention_layernorm.weight`,
    });
    const fed = feedForward(builder, linears, { input: middle.normed, layer: module });
    const last = layer === config.numHiddenLayers - 1;
    const next = last ? FINAL_NORM : `model.layers.${layer + 1}.input_layernorm.weight`;
    ({ hidden, normed } = addAndNorm(context, { hidden: middle.hidden, added: fed, norm: next }));
  }
  const logits = linears.head(normed);
  builder.nodes.push({
    name: '/lm_head/logits',
    // Sampling is done in float32 whatever the decoder computes in.
    ...(compute === 'F32'
      ? { opType: 'Identity', attributes: {} }
      : { opType: 'Cast', attributes: { to: { int: ONNX_TYPES.F32.code } } }),
    domain: '',
    inputs: [logits],
    outputs: ['logits'],
  });
  return builder.graph({
    name: 'decoder',
    initializers: [...weights.tensors.values()],
    inputs: [...tokenInputs(), ...cacheValues(config, compute, 'past_key_values', 'past_sequence_length')],
    outputs: [
      { name: 'logits', type: 'F32', dims: ['batch_size', 'sequence_length', config.vocabSize] },
      ...cacheValues(config, compute, 'present', 'total_sequence_length'),
    ],
  });
}

/**
 * The table is widened before rows are taken: WebGPU devices without float16, for which q4 is made, refuse to gather from a
 * float16 table (measured: onnxruntime-web 1.31 on SwiftShader), and a tied head needs the wide table anyway.
 */
function embed({ builder, compute, weights }: GraphContext): string {
  const stored = weights.tensors.get(EMBEDDING)?.type;
  const table = stored === compute ? EMBEDDING : builder.widen(EMBEDDING, ONNX_TYPES[compute]);
  return builder.add('/model/embed_tokens', 'Gather', {
    inputs: [table, 'input_ids'],
    attributes: { axis: { int: 0 } },
  });
}

interface ResidualSpec {
  readonly hidden: string;
  readonly added: string;
  /** Weight of the norm that follows. */
  readonly norm: string;
}

/** hidden + added, and its RMS norm. */
function addAndNorm(
  { builder, config }: GraphContext,
  { hidden, added, norm }: ResidualSpec,
): { readonly hidden: string; readonly normed: string } {
  const path = `/${norm
    .replace(/\.weight$/, '')
    .replaceAll('.', '/')
    .replace('layers/', 'layers.')}`;
  const normed = `${path}/output_0`;
  const sum = `${path}/output_3`;
  builder.add(path, 'SkipSimplifiedLayerNormalization', {
    inputs: [hidden, added, norm],
    outputs: norm === FINAL_NORM ? [normed] : [normed, '', '', sum],
    attributes: { epsilon: { float: config.rmsNormEps } },
    microsoft: true,
  });
  return { hidden: sum, normed };
}

/** down(silu(gate(x)) · up(x)). */
function feedForward(
  builder: GraphBuilder,
  linears: Linears,
  { input, layer }: { readonly input: string; readonly layer: string },
): string {
  const path = `/${layer.replace('model.', 'model/')}/mlp`;
  const gate = linears.apply(input, `${layer}.mlp.gate_proj`);
  const up = linears.apply(input, `${layer}.mlp.up_proj`);
  const sigmoid = builder.add(`${path}/act_fn`, 'Sigmoid', { inputs: [gate] });
  const activated = builder.add(`${path}/act_fn`, 'Mul', { inputs: [gate, sigmoid] });
  return linears.apply(builder.add(path, 'Mul', { inputs: [activated, up] }), `${layer}.mlp.down_proj`);
}

function tokenInputs(): OnnxValue[] {
  return [
    { name: 'input_ids', type: 'I64', dims: ['batch_size', 'sequence_length'] },
    { name: 'attention_mask', type: 'I64', dims: ['batch_size', 'total_sequence_length'] },
  ];
}

/** transformers.js makes the empty cache from these: heads and head size must be numbers, the batch "batch_size". */
function cacheValues(
  { numHiddenLayers, numKeyValueHeads, headDim }: ModelConfig,
  type: ComputeType,
  prefix: string,
  length: string,
): OnnxValue[] {
  return Array.from({ length: numHiddenLayers }, (_, layer) =>
    ['key', 'value'].map((part) => ({
      name: `${prefix}.${layer}.${part}`,
      type,
      dims: ['batch_size', numKeyValueHeads, length, headDim],
    })),
  ).flat();
}
