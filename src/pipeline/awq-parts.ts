import { Bug } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { Tensor } from '../engine/tensor.js';
import type { ModelItem } from '../export/output-format.js';
import { bytesOf } from '../io/byte-views.js';
import type { DecoderLayer } from '../model/index.js';
import { linearNames } from '../model/index.js';
import type { ModelConfig } from '../model/types.js';
import type { FinishedDense, FinishedLinear, FinishedPart } from './finished-part.js';

/** Dense tensors that AWQ changes: the norms of layers that have planned linears, and the biases it folds factors into. */
export function awqReplaced(config: ModelConfig, planned: ReadonlySet<string>): ReadonlySet<string> {
  const names: string[] = [];
  for (let index = 0; index < config.numHiddenLayers; index++) {
    if (!linearNames(index).some((name) => planned.has(name))) continue;
    const layer = `model.layers.${index}`;
    names.push(`${layer}.input_layernorm.weight`, `${layer}.post_attention_layernorm.weight`);
    const valuesReachOneInput = config.numAttentionHeads === config.numKeyValueHeads;
    if (config.attentionBias && valuesReachOneInput) names.push(`${layer}.self_attn.v_proj.bias`);
    if (config.mlpBias) names.push(`${layer}.mlp.up_proj.bias`);
  }
  return new Set(names);
}

/** A finished layer's linears and changed tensors, in the order of `items`. */
export async function* awqParts(
  engine: Engine,
  options: {
    readonly layer: DecoderLayer;
    readonly linears: readonly FinishedLinear[];
    readonly items: readonly ModelItem[];
    readonly replaced: ReadonlySet<string>;
  },
): AsyncGenerator<FinishedPart, void, undefined> {
  const { layer, linears, items, replaced } = options;
  const finished = new Map(linears.map((linear) => [linear.name, linear]));
  const tensors = foldedTensors(layer);
  for (const item of items) {
    if (item.kind === 'linear') {
      const linear = finished.get(item.linear.name);
      if (linear !== undefined) yield linear;
    } else if (replaced.has(item.tensor.name)) {
      const tensor = tensors.get(item.tensor.name);
      if (tensor !== undefined) yield await readPart(engine, item.tensor.name, tensor);
    }
  }
}

/** Norms and biases of a layer that factors were folded into, by tensor name. */
function foldedTensors(layer: DecoderLayer): ReadonlyMap<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const { source } of layer.blocks.flatMap((block) => block.groups)) {
    if (source?.kind === 'norm') tensors.set(source.name, source.weight);
    if (source?.kind === 'linear' && source.slot.bias !== undefined)
      tensors.set(`${source.slot.name}.bias`, source.slot.bias);
  }
  return tensors;
}

async function readPart(engine: Engine, name: string, tensor: Tensor): Promise<FinishedDense> {
  const data = await engine.read(tensor);
  if (tensor.dtype !== 'f32') return { kind: 'dense', name, bytes: [bytesOf(data)] };
  // The float64 engine hands out doubles.
  if (data instanceof Float32Array || data instanceof Float64Array)
    return { kind: 'dense', name, bytes: [bytesOf(Float32Array.from(data))] };
  throw new Bug(`internal: ${name} is ${tensor.dtype} and came as integers`);
}
