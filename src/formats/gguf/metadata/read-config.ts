import { UserError } from '../../../core/errors.js';
import { listOffenders } from '../../../io/list-offenders.js';
import type { JsonObject } from '../../../io/json.js';
import type { GgufMetadata } from '../gguf-value.js';
import { MetadataReader } from './metadata-reader.js';
import type { GgufArchitecture } from './model-config.js';
import { isGgufArchitecture } from './model-config.js';
import { yarnMagnitude } from './model-metadata.js';
import { findLlama3Scaling } from './rope-freqs.js';

const CLASSES: Readonly<Record<GgufArchitecture, string>> = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};

export interface GgufConfigSource {
  readonly metadata: GgufMetadata;
  /** Name of the file, for messages. */
  readonly file: string;
  /** Whether the file has a tensor of this GGUF name. */
  hasTensor(name: string): boolean;
  /** Values of rope_freqs.weight, where the file has it. */
  readonly ropeFreqs?: ArrayLike<number> | undefined;
}

/**
 * GGUF metadata → config.json of the Hugging Face model it came from. FormatError for keys that are missing or nonsense,
 * UserError for architectures and features that config.json cannot express for them; all offenders at once.
 */
export function readGgufConfig(source: GgufConfigSource): JsonObject {
  const reader = new MetadataReader(source.metadata, source.file);
  const architecture = requireArchitecture(reader, source.file);
  const unsupported: string[] = [];
  const get = (key: string): string => `${architecture}.${key}`;
  const hiddenSize = reader.positiveInt(get('embedding_length'));
  const heads = reader.positiveInt(get('attention.head_count'));
  const headDim = reader.positiveInt(get('attention.key_length'), hiddenSize / heads);
  const theta = reader.positiveNumber(get('rope.freq_base'), 10_000);
  const config = {
    architectures: [CLASSES[architecture]],
    model_type: architecture,
    hidden_act: 'silu',
    hidden_size: hiddenSize,
    intermediate_size: reader.positiveInt(get('feed_forward_length')),
    num_hidden_layers: reader.positiveInt(get('block_count')),
    num_attention_heads: heads,
    num_key_value_heads: reader.positiveInt(get('attention.head_count_kv'), heads),
    head_dim: headDim,
    vocab_size: reader.strings('tokenizer.ggml.tokens')?.length ?? reader.positiveInt(get('vocab_size')),
    max_position_embeddings: reader.positiveInt(get('context_length')),
    rms_norm_eps: reader.positiveNumber(get('attention.layer_norm_rms_epsilon')),
    rope_theta: theta,
    ...readScaling(reader, source, architecture, { theta, rotaryDims: headDim }, unsupported),
    tie_word_embeddings: !source.hasTensor('output.weight'),
    ...readBiases(source, architecture, unsupported),
    ...readTokenIds(reader),
  };
  refuseForeign(reader, architecture, headDim, unsupported);
  reader.throwComplaints();
  if (unsupported.length > 0)
    throw new UserError(
      `${source.file}: features that halfbyte does not have:${listOffenders(unsupported)}`,
      {
        advice: 'choose a model without them; running anyway would give wrong numbers',
      },
    );
  return config;
}

function requireArchitecture(reader: MetadataReader, file: string): GgufArchitecture {
  const name = reader.string('general.architecture');
  const type = reader.string('general.type') ?? 'model';
  reader.throwComplaints();
  if (name !== undefined && isGgufArchitecture(name) && type === 'model') return name;
  const found = type === 'model' ? `architecture ${JSON.stringify(name)}` : `a ${JSON.stringify(type)}`;
  throw new UserError(`${file}: ${found} is not a GGUF model that halfbyte reads (llama, qwen2, qwen3)`, {
    advice: 'choose a model of a supported architecture',
  });
}

interface Rotation {
  readonly theta: number;
  readonly rotaryDims: number;
}

function readScaling(
  reader: MetadataReader,
  source: GgufConfigSource,
  architecture: GgufArchitecture,
  rotation: Rotation,
  unsupported: string[],
): JsonObject {
  const type = reader.string(`${architecture}.rope.scaling.type`) ?? 'none';
  if (source.ropeFreqs !== undefined) {
    const scaling =
      type === 'none' || type === 'linear' ? findLlama3Scaling(source.ropeFreqs, rotation) : undefined;
    if (scaling === undefined) {
      unsupported.push('"rope_freqs.weight" holds other divisors than RoPE scaling "llama3" makes');
      return {};
    }
    return {
      rope_scaling: {
        rope_type: 'llama3',
        factor: scaling.factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositions,
      },
    };
  }
  const factorKey = `${architecture}.rope.scaling.factor`;
  switch (type) {
    case 'none':
      return {};
    case 'linear': {
      const factor = reader.positiveNumber(factorKey, 1);
      return factor === 1 ? {} : { rope_scaling: { rope_type: 'linear', factor } };
    }
    case 'yarn':
      return { rope_scaling: readYarn(reader, architecture) };
    default:
      unsupported.push(
        `"${architecture}.rope.scaling.type" is ${JSON.stringify(type)}; supported: linear, yarn`,
      );
      return {};
  }
}

function readYarn(reader: MetadataReader, architecture: GgufArchitecture): JsonObject {
  const prefix = `${architecture}.rope.scaling`;
  const factor = reader.positiveNumber(`${prefix}.factor`);
  const attention = reader.positiveNumber(`${prefix}.attn_factor`, 1);
  const optional = (json: string, key: string): JsonObject =>
    reader.has(key) ? { [json]: reader.positiveNumber(key) } : {};
  return {
    rope_type: 'yarn',
    factor,
    original_max_position_embeddings: reader.positiveInt(`${prefix}.original_context_length`),
    ...(attention === 1 ? {} : { attention_factor: tidy(attention * yarnMagnitude(factor, 1)) }),
    ...optional('beta_fast', `${prefix}.yarn_beta_fast`),
    ...optional('beta_slow', `${prefix}.yarn_beta_slow`),
  };
}

/** A product of float32 numbers, without the digits that float32 does not have. */
function tidy(value: number): number {
  return Number(value.toPrecision(6));
}

/** Biases of the first layer stand for all: config.json has one switch for them. */
function readBiases(
  source: GgufConfigSource,
  architecture: GgufArchitecture,
  unsupported: string[],
): JsonObject {
  if (architecture === 'qwen2') return {};
  const has = (part: string): boolean => source.hasTensor(`blk.0.${part}.bias`);
  const attention = ['attn_q', 'attn_k', 'attn_v', 'attn_output'];
  const mlp = ['ffn_gate', 'ffn_up', 'ffn_down'];
  for (const names of [attention, mlp])
    if (names.some(has) && !names.every(has))
      unsupported.push(`biases on some of ${names.join(', ')} only: ${names.filter(has).join(', ')}`);
  return { attention_bias: attention.some(has), mlp_bias: mlp.some(has) };
}

function readTokenIds(reader: MetadataReader): JsonObject {
  const ids: Record<string, number> = {};
  for (const [json, key] of [
    ['bos_token_id', 'bos'],
    ['eos_token_id', 'eos'],
    ['pad_token_id', 'padding'],
  ] as const) {
    const name = `tokenizer.ggml.${key}_token_id`;
    if (reader.has(name)) ids[json] = reader.number(name);
  }
  return ids;
}

/** Keys that change what llama.cpp computes and that no config.json of these architectures has. */
function refuseForeign(
  reader: MetadataReader,
  architecture: GgufArchitecture,
  headDim: number,
  unsupported: string[],
): void {
  const refuse = (key: string, neutral: number, supported: string): void => {
    const name = `${architecture}.${key}`;
    if (reader.has(name) && reader.number(name) !== neutral)
      unsupported.push(`"${name}" is ${reader.number(name)}; supported: ${supported}`);
  };
  refuse('expert_count', 0, 'dense models (no mixture of experts)');
  refuse('attention.value_length', headDim, `as long as keys (${headDim})`);
  refuse('rope.dimension_count', headDim, `RoPE over the whole head (${headDim})`);
  refuse('attention.scale', 0, 'the usual scale of attention');
  refuse('logit_scale', 1, 'logits without scale');
  refuse('residual_scale', 1, 'residuals without scale');
  refuse('embedding_scale', 1, 'embeddings without scale');
}
