import { FormatError } from '../core/errors.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { listOffenders } from '../io/list-offenders.js';
import { EMBEDDING_NAME, HEAD_NAME } from '../model/index.js';
import type { ModelConfig } from '../model/types.js';
import type { QuantizedReader } from './quantized-reader.js';

export interface LinearSite {
  /** Module path. */
  readonly name: string;
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  readonly bias: boolean;
}

/** The linears of one decoder layer, in the order they are quantized. */
export function layerLinears(config: ModelConfig, index: number): LinearSite[] {
  const { hiddenSize, intermediateSize, headDim, attentionBias, attentionOutBias, mlpBias } = config;
  const qSize = config.numAttentionHeads * headDim;
  const kvSize = config.numKeyValueHeads * headDim;
  const site = (path: string, outFeatures: number, inFeatures: number, bias: boolean): LinearSite => {
    return { name: `model.layers.${index}.${path}`, outFeatures, inFeatures, bias };
  };
  return [
    site('self_attn.q_proj', qSize, hiddenSize, attentionBias),
    site('self_attn.k_proj', kvSize, hiddenSize, attentionBias),
    site('self_attn.v_proj', kvSize, hiddenSize, attentionBias),
    site('self_attn.o_proj', hiddenSize, qSize, attentionOutBias),
    site('mlp.gate_proj', intermediateSize, hiddenSize, mlpBias),
    site('mlp.up_proj', intermediateSize, hiddenSize, mlpBias),
    site('mlp.down_proj', hiddenSize, intermediateSize, mlpBias),
  ];
}

/** The separate language-model head, or undefined where it is tied to the embeddings. */
export function headLinear(config: ModelConfig): LinearSite | undefined {
  if (config.tieWordEmbeddings) return undefined;
  return { name: HEAD_NAME, outFeatures: config.vocabSize, inFeatures: config.hiddenSize, bias: false };
}

/**
 * Throws FormatError listing every tensor the model needs and the checkpoint lacks or has in another shape.
 * Modules that are stored quantized are judged by the shape their codes have.
 */
export function checkRequiredTensors(
  checkpoint: Checkpoint,
  config: ModelConfig,
  quantized?: QuantizedReader,
): void {
  const problems: string[] = [];
  const need = (name: string, shape: readonly number[]): void => {
    const info = checkpoint.tensors.get(name);
    const module = name.replace(/\.weight$/, '');
    const found = quantized?.modules.has(module) === true ? quantized.shape(module) : info?.shape;
    const expected = `[${shape.join(', ')}]`;
    if (found === undefined) problems.push(`"${name}" ${expected}: missing`);
    else if (found.join() !== shape.join())
      problems.push(`"${name}": shape ${expected} expected, [${found.join(', ')}] found`);
  };
  const needLinear = ({ name, outFeatures, inFeatures, bias }: LinearSite): void => {
    need(`${name}.weight`, [outFeatures, inFeatures]);
    if (bias) need(`${name}.bias`, [outFeatures]);
  };
  need(EMBEDDING_NAME, [config.vocabSize, config.hiddenSize]);
  for (let index = 0; index < config.numHiddenLayers; index++) {
    const layer = `model.layers.${index}`;
    need(`${layer}.input_layernorm.weight`, [config.hiddenSize]);
    need(`${layer}.post_attention_layernorm.weight`, [config.hiddenSize]);
    if (config.qkNorm)
      for (const norm of ['q_norm', 'k_norm']) need(`${layer}.self_attn.${norm}.weight`, [config.headDim]);
    layerLinears(config, index).forEach(needLinear);
  }
  need('model.norm.weight', [config.hiddenSize]);
  const head = headLinear(config);
  if (head !== undefined) needLinear(head);
  if (problems.length === 0) return;
  throw new FormatError(`the weights do not fit config.json:${listOffenders(problems)}`, {
    file: checkpoint.shards.length === 1 ? checkpoint.shards[0] : `${checkpoint.shards.length} shards`,
    advice: 'a shard is missing, or config.json belongs to another model: fetch all files again',
  });
}
