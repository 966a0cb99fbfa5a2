import type { GgufArchitecture, GgufModelConfig, GgufRope, YarnScaling } from './model-config.js';
import { ggufArchitecture } from './model-config.js';
import type { MetadataPart } from './metadata-part.js';
import { PartBuilder } from './metadata-part.js';

/** llama.cpp's defaults where a file names none (llama-hparams, llama-context). */
const DEFAULT_BETA_FAST = 32;
const DEFAULT_BETA_SLOW = 1;

/**
 * config.json → `<architecture>.*` keys as llama.cpp reads them (src/llama-model.cpp, src/models/*.cpp). Llama 3's RoPE
 * scaling is no key but a tensor: see rope-freqs.ts.
 */
export function modelMetadata(config: GgufModelConfig): MetadataPart {
  const part = new PartBuilder();
  const architecture = ggufArchitecture(config.modelType);
  if (architecture === undefined) {
    part.problems.push(`GGUF: no llama.cpp architecture is known for model_type "${config.modelType}"`);
    return part;
  }
  addSizes(part, architecture, config);
  addRope(part, architecture, config.rope);
  refuseForeign(part, architecture, config);
  noteWindows(part, config);
  return part;
}

function addSizes(part: PartBuilder, architecture: GgufArchitecture, config: GgufModelConfig): void {
  const { headDim } = config;
  part.u32(`${architecture}.vocab_size`, config.vocabSize);
  part.u32(`${architecture}.context_length`, config.maxPositionEmbeddings);
  part.u32(`${architecture}.embedding_length`, config.hiddenSize);
  part.u32(`${architecture}.block_count`, config.numHiddenLayers);
  part.u32(`${architecture}.feed_forward_length`, config.intermediateSize);
  part.u32(`${architecture}.attention.head_count`, config.numAttentionHeads);
  part.u32(`${architecture}.attention.head_count_kv`, config.numKeyValueHeads);
  // llama.cpp derives both from hidden size and heads where they are absent; written always, they are always right.
  part.u32(`${architecture}.attention.key_length`, headDim);
  part.u32(`${architecture}.attention.value_length`, headDim);
  part.f32(`${architecture}.attention.layer_norm_rms_epsilon`, config.rmsNormEps);
  part.u32(`${architecture}.rope.dimension_count`, config.rope.rotaryDims);
  part.f32(`${architecture}.rope.freq_base`, config.rope.theta);
}

function addRope(part: PartBuilder, architecture: GgufArchitecture, rope: GgufRope): void {
  const { scaling } = rope;
  switch (scaling.type) {
    case 'default':
      return;
    case 'linear':
      part.string(`${architecture}.rope.scaling.type`, 'linear');
      part.f32(`${architecture}.rope.scaling.factor`, scaling.factor);
      return;
    case 'llama3':
      // Only this architecture of llama.cpp reads rope_freqs.weight.
      if (architecture !== 'llama')
        part.problems.push(
          `GGUF: llama.cpp has RoPE scaling "llama3" for its architecture llama only, not for ${architecture}`,
        );
      return;
    case 'yarn':
      addYarn(part, architecture, scaling);
      return;
    default:
      scaling satisfies never;
  }
}

/**
 * llama.cpp multiplies cos and sin by 1 + 0.1·ln(factor) for yarn; `attn_factor` multiplies that in turn, so it carries
 * what a config's own attention factor differs by.
 */
function addYarn(part: PartBuilder, architecture: GgufArchitecture, scaling: YarnScaling): void {
  const prefix = `${architecture}.rope.scaling`;
  part.string(`${prefix}.type`, 'yarn');
  part.f32(`${prefix}.factor`, scaling.factor);
  part.u32(`${prefix}.original_context_length`, scaling.originalMaxPositions);
  const wanted = yarnAttentionFactor(scaling);
  const builtIn = yarnMagnitude(scaling.factor, 1);
  if (wanted !== builtIn) part.f32(`${prefix}.attn_factor`, wanted / builtIn);
  if (scaling.betaFast !== DEFAULT_BETA_FAST) part.f32(`${prefix}.yarn_beta_fast`, scaling.betaFast);
  if (scaling.betaSlow !== DEFAULT_BETA_SLOW) part.f32(`${prefix}.yarn_beta_slow`, scaling.betaSlow);
  if (!scaling.truncate)
    part.notes.push(
      'GGUF: llama.cpp rounds the ends of the yarn ramp ("truncate": true); this model does not, so logits differ slightly',
    );
}

/** transformers' attention factor (modeling_rope_utils). */
function yarnAttentionFactor(scaling: YarnScaling): number {
  const { attentionFactor, mscale, mscaleAllDim, factor } = scaling;
  if (attentionFactor !== undefined) return attentionFactor;
  if (mscale !== undefined && mscaleAllDim !== undefined)
    return yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscaleAllDim);
  return yarnMagnitude(factor, 1);
}

export function yarnMagnitude(factor: number, weight: number): number {
  return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
}

function refuseForeign(part: PartBuilder, architecture: GgufArchitecture, config: GgufModelConfig): void {
  if (config.rope.rotaryDims !== config.headDim)
    part.problems.push(
      `GGUF: llama.cpp rotates whole heads for ${architecture}; here ${config.rope.rotaryDims} of ${config.headDim} dimensions`,
    );
  if (architecture !== 'llama' && config.attentionOutBias)
    part.problems.push(
      `GGUF: llama.cpp reads no bias of o_proj for ${architecture} (attention_bias is true)`,
    );
  if (architecture !== 'llama' && config.mlpBias)
    part.problems.push(`GGUF: llama.cpp reads no biases of the MLP for ${architecture} (mlp_bias is true)`);
}

/** None of the three architectures has sliding windows in llama.cpp. */
function noteWindows(part: PartBuilder, config: GgufModelConfig): void {
  const windows = config.slidingWindows.filter(
    (window): window is number => window !== undefined && window < config.maxPositionEmbeddings,
  );
  if (windows.length === 0) return;
  const shortest = Math.min(...windows);
  part.notes.push(
    `GGUF: llama.cpp has no sliding window for this architecture: ${windows.length} of ${config.numHiddenLayers} layers ` +
      `attend to the last ${shortest} tokens only; beyond ${shortest} tokens of context llama.cpp's answers differ`,
  );
}
