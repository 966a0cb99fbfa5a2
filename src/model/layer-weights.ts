import type { Engine } from '../engine/engine.js';
import type { Tensor } from '../engine/tensor.js';
import { weightTensors } from './linear-weight.js';
import type { LinearSlot, ModelConfig, WeightSource } from './types.js';

export interface LoadLayerOptions {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly source: WeightSource;
  /** 0 … num_hidden_layers − 1. */
  readonly index: number;
}

/** The weights of one layer; names are those of the checkpoint. Absent biases and norms are undefined. */
export interface LayerWeights {
  readonly inputNorm: Tensor;
  readonly q: LinearSlot;
  readonly k: LinearSlot;
  readonly v: LinearSlot;
  readonly o: LinearSlot;
  readonly qNorm?: Tensor;
  readonly kNorm?: Tensor;
  readonly postAttentionNorm: Tensor;
  readonly gate: LinearSlot;
  readonly up: LinearSlot;
  readonly down: LinearSlot;
}

/** Tensor name of a layer's norm. */
export function normName(index: number, norm: string): string {
  return `model.layers.${index}.${norm}.weight`;
}

/** Module paths of a layer's linears in the order they are quantized. */
export function linearNames(index: number): readonly string[] {
  const layer = `model.layers.${index}`;
  return [
    ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `${layer}.self_attn.${name}`),
    ...['gate_proj', 'up_proj', 'down_proj'].map((name) => `${layer}.mlp.${name}`),
  ];
}

/**
 * Reads one layer's weights; `free` frees every one of them, quantized or not. When a tensor cannot be read the ones
 * before it are freed and the source's error goes on.
 */
export async function loadLayerWeights(
  options: LoadLayerOptions,
): Promise<{ readonly weights: LayerWeights; readonly free: () => void }> {
  const { engine, config, source, index } = options;
  const norms: Tensor[] = [];
  const slots: LinearSlot[] = [];
  const free = (): void => {
    // Quantized linears may share tensors (one g_idx for q, k and v), hence the set.
    const biases = slots.flatMap((slot) => (slot.bias === undefined ? [] : [slot.bias]));
    engine.free(...new Set([...norms, ...biases, ...slots.flatMap((slot) => weightTensors(slot.weight))]));
    norms.length = 0;
    slots.length = 0;
  };
  const [qName, kName, vName, oName, gateName, upName, downName] = linearNames(index);
  const norm = async (name: string, size: number): Promise<Tensor> => {
    const tensor = await source.dense(normName(index, name), [size]);
    norms.push(tensor);
    return tensor;
  };
  const linear = async (name: string, outFeatures: number, inFeatures: number, withBias: boolean) => {
    const slot = await loadLinear(options, name, [outFeatures, inFeatures], withBias);
    slots.push(slot);
    return slot;
  };
  const { hiddenSize, intermediateSize, headDim, attentionBias, attentionOutBias, mlpBias } = config;
  const qSize = config.numAttentionHeads * headDim;
  const kvSize = config.numKeyValueHeads * headDim;
  try {
    const weights: LayerWeights = {
      inputNorm: await norm('input_layernorm', hiddenSize),
      q: await linear(qName, qSize, hiddenSize, attentionBias),
      k: await linear(kName, kvSize, hiddenSize, attentionBias),
      v: await linear(vName, kvSize, hiddenSize, attentionBias),
      o: await linear(oName, hiddenSize, qSize, attentionOutBias),
      ...(config.qkNorm
        ? { qNorm: await norm('self_attn.q_norm', headDim), kNorm: await norm('self_attn.k_norm', headDim) }
        : {}),
      postAttentionNorm: await norm('post_attention_layernorm', hiddenSize),
      gate: await linear(gateName, intermediateSize, hiddenSize, mlpBias),
      up: await linear(upName, intermediateSize, hiddenSize, mlpBias),
      down: await linear(downName, hiddenSize, intermediateSize, mlpBias),
    };
    return { weights, free };
  } catch (error) {
    free();
    throw error;
  }
}

async function loadLinear(
  options: LoadLayerOptions,
  name: string,
  shape: readonly [number, number],
  withBias: boolean,
): Promise<LinearSlot> {
  const { engine, source } = options;
  const [outFeatures, inFeatures] = shape;
  const bias = withBias ? await source.dense(`${name}.bias`, [outFeatures]) : undefined;
  try {
    const weight = await source.linear(name, outFeatures, inFeatures);
    return { name, outFeatures, inFeatures, weight, ...(bias === undefined ? {} : { bias }) };
  } catch (error) {
    if (bias !== undefined) engine.free(bias);
    throw error;
  }
}
