import { ONNX_TYPES } from '../../formats/onnx/onnx-model.js';
import type { GraphContext } from './graph-context.js';
import { COS_CACHE, SIN_CACHE } from './graph-context.js';
import type { Linears } from './linear-graph.js';

/** GroupQueryAttention rotates heads of a multiple of this itself (measured: onnxruntime 1.30 and 1.31, CPU). */
const FUSED_ROTARY_MULTIPLE = 16;
/** And takes heads of a multiple of this at all. */
export const HEAD_DIM_MULTIPLE = 8;

/** Attention of a layer, from its normed input [batch, sequence, D] to the output of o_proj. */
export type Attend = (input: string, layer: number) => string;

/** Adds what all layers share (lengths, positions); returns the builder of one layer's attention. */
export function createAttention(context: GraphContext, linears: Linears): Attend {
  const { builder, config } = context;
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = config;
  const { lastIndex, totalLength } = addLengths(context);
  const fused = headDim % FUSED_ROTARY_MULTIPLE === 0;
  const positions = fused ? '' : addPositions(context);
  const prepare = (input: string, path: string, norm: string): string => {
    const normed = config.qkNorm ? normHeads(context, input, { path, norm }) : input;
    if (fused) return normed;
    return builder.add(path, 'RotaryEmbedding', {
      inputs: [normed, positions, COS_CACHE, SIN_CACHE],
      attributes: { interleaved: { int: 0 } },
      microsoft: true,
    });
  };
  return (input, layer) => {
    const module = `model.layers.${layer}.self_attn`;
    const path = `/model/layers.${layer}/self_attn`;
    const q = prepare(linears.apply(input, `${module}.q_proj`), `${path}/q_norm`, `${module}.q_norm.weight`);
    const k = prepare(linears.apply(input, `${module}.k_proj`), `${path}/k_norm`, `${module}.k_norm.weight`);
    const v = linears.apply(input, `${module}.v_proj`);
    const past = ['key', 'value'].map((part) => `past_key_values.${layer}.${part}`);
    const mixed = builder.add(path, 'GroupQueryAttention', {
      inputs: [q, k, v, ...past, lastIndex, totalLength, ...(fused ? [COS_CACHE, SIN_CACHE] : [])],
      outputs: [`${path}/output_0`, `present.${layer}.key`, `present.${layer}.value`],
      attributes: {
        num_heads: { int: heads },
        kv_num_heads: { int: kvHeads },
        scale: { float: 1 / Math.sqrt(headDim) },
        do_rotary: { int: fused ? 1 : 0 },
        rotary_interleaved: { int: 0 },
        // The window counts the token itself, as sliding_window does.
        local_window_size: { int: config.slidingWindows[layer] ?? -1 },
      },
      microsoft: true,
    });
    return linears.apply(mixed, `${module}.o_proj`);
  };
}

/** Index of each row's last token i32 [batch], and the length of the longest row i32 []. */
function addLengths({ builder }: GraphContext): { lastIndex: string; totalLength: string } {
  const path = '/model/attention_mask';
  const counts = builder.add(path, 'ReduceSum', {
    inputs: ['attention_mask', builder.int64([1])],
    attributes: { keepdims: { int: 0 } },
  });
  const last = builder.add(path, 'Sub', { inputs: [counts, builder.int64([1])] });
  const shape = builder.add(path, 'Shape', { inputs: ['attention_mask'] });
  const total = builder.add(path, 'Gather', {
    inputs: [shape, builder.int64(1)],
    attributes: { axis: { int: 0 } },
  });
  return {
    lastIndex: builder.cast(`${path}/last_index`, last, ONNX_TYPES.I32),
    totalLength: builder.cast(`${path}/total_length`, total, ONNX_TYPES.I32),
  };
}

/** i64 [batch, sequence]: tokens before each new one, padding not counted. */
function addPositions({ builder }: GraphContext): string {
  const path = '/model/position_ids';
  const counts = builder.add(path, 'CumSum', { inputs: ['attention_mask', builder.int64(1)] });
  const all = builder.add(path, 'Sub', { inputs: [counts, builder.int64([1])] });
  const valid = builder.add(path, 'Max', { inputs: [all, builder.int64([0])] });
  const shape = builder.add(path, 'Shape', { inputs: ['input_ids'] });
  const length = builder.add(`${path}/length`, 'Gather', {
    inputs: [shape, builder.int64([1])],
    attributes: { axis: { int: 0 } },
  });
  const start = builder.add(path, 'Neg', { inputs: [length] });
  const end = builder.int64([Number.MAX_SAFE_INTEGER]);
  return builder.add(path, 'Slice', { inputs: [valid, start, end, builder.int64([1])] });
}

/** RMS norm over each head (qwen3): [batch, sequence, heads·E] seen as [batch, sequence·heads, E]. */
function normHeads(
  { builder, config }: GraphContext,
  input: string,
  { path, norm }: { readonly path: string; readonly norm: string },
): string {
  const byHead = builder.add(`${path}/heads`, 'Reshape', {
    inputs: [input, builder.int64([0, -1, config.headDim])],
  });
  const normed = builder.add(path, 'SimplifiedLayerNormalization', {
    inputs: [byHead, norm],
    attributes: { axis: { int: -1 }, stash_type: { int: 1 }, epsilon: { float: config.rmsNormEps } },
  });
  const heads = norm.endsWith('q_norm.weight') ? config.numAttentionHeads : config.numKeyValueHeads;
  return builder.add(path, 'Reshape', { inputs: [normed, builder.int64([0, -1, heads * config.headDim])] });
}
