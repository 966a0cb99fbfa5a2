import { FormatError, UserError } from '../core/errors.js';
import { ARCHITECTURES, findArchitecture } from './architectures/index.js';
import type { Architecture } from './architectures/architecture.js';
import { ConfigReader, isObject } from './config-reader.js';
import { readRope } from './rope-config.js';
import type { ModelConfig } from './types.js';

/** The deepest published decoders have about 130 layers; more than this is a damaged file, and the count sizes arrays. */
const MAX_LAYERS = 4096;

/**
 * config.json → ModelConfig. `json` is the parsed file, `file` its name for messages.
 *
 * Errors list every offender: UserError for an architecture or a feature that halfbyte does not have, FormatError for
 * keys that are missing or hold nonsense. Defaults and precedence follow the configuration classes of transformers 5,
 * older spellings included.
 */
export function parseModelConfig(json: unknown, file = 'config.json'): ModelConfig {
  if (!isObject(json))
    throw new FormatError('a JSON object with the model settings expected', {
      file,
      advice: 'point MODEL at a Hugging Face checkpoint folder',
    });
  const architecture = requireArchitecture(json, file);
  const reader = new ConfigReader(json);
  const config = readConfig(reader, architecture);
  refuseForeignFeatures(reader);
  throwComplaints(reader, file);
  return config;
}

function requireArchitecture(json: Readonly<Record<string, unknown>>, file: string): Architecture {
  const modelType = json.model_type;
  const architecture = typeof modelType === 'string' ? findArchitecture(modelType) : undefined;
  if (architecture !== undefined) return architecture;
  const supported = ARCHITECTURES.map((known) => known.modelType).join(', ');
  const found = modelType === undefined ? 'no model_type' : `model_type ${JSON.stringify(modelType)}`;
  throw new UserError(`${file}: ${found} is not an architecture that halfbyte runs (${supported})`, {
    advice:
      modelType === undefined
        ? 'point MODEL at a decoder-only language model in Hugging Face format'
        : 'choose a model of a supported architecture, or add it: see src/model/architectures/architecture.ts',
  });
}

function readConfig(reader: ConfigReader, architecture: Architecture): ModelConfig {
  const { defaults } = architecture;
  const hiddenSize = reader.positiveInt('hidden_size');
  const numHiddenLayers = reader.positiveInt('num_hidden_layers');
  if (numHiddenLayers > MAX_LAYERS) reader.complain('num_hidden_layers', `at most ${MAX_LAYERS}`);
  const numAttentionHeads = reader.positiveInt('num_attention_heads');
  // Absent takes the class default; null always means "as many as query heads".
  const kvDefault =
    reader.raw('num_key_value_heads') === null ? undefined : architecture.defaults.numKeyValueHeads;
  const numKeyValueHeads = reader.positiveInt('num_key_value_heads', kvDefault ?? numAttentionHeads);
  if (numAttentionHeads % numKeyValueHeads !== 0)
    reader.complain('num_key_value_heads', `a divisor of num_attention_heads (${numAttentionHeads})`);
  const headDim = readHeadDim(reader, defaults.headDim, hiddenSize, numAttentionHeads);
  const maxPositionEmbeddings = reader.positiveInt('max_position_embeddings', defaults.maxPositionEmbeddings);
  return {
    modelType: architecture.modelType,
    hiddenSize,
    intermediateSize: reader.positiveInt('intermediate_size'),
    numHiddenLayers,
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    vocabSize: reader.positiveInt('vocab_size'),
    maxPositionEmbeddings,
    rmsNormEps: reader.positiveNumber('rms_norm_eps', 1e-6),
    rope: readRope(reader, headDim, maxPositionEmbeddings),
    tieWordEmbeddings: reader.boolean('tie_word_embeddings', defaults.tieWordEmbeddings),
    ...architecture.readTraits(reader, Math.min(numHiddenLayers, MAX_LAYERS)),
  };
}

function readHeadDim(
  reader: ConfigReader,
  classDefault: number | undefined,
  hiddenSize: number,
  heads: number,
): number {
  const derived = classDefault ?? hiddenSize / heads;
  if (!reader.has('head_dim') && !Number.isSafeInteger(derived)) {
    reader.complain('hidden_size', `a multiple of num_attention_heads (${heads}) when head_dim is absent`);
    return 2;
  }
  const headDim = reader.positiveInt('head_dim', derived);
  if (headDim % 2 !== 0) {
    if (reader.has('head_dim')) reader.complain('head_dim', 'even (RoPE rotates pairs)');
    else reader.complain('hidden_size', 'an even multiple of num_attention_heads (RoPE rotates pairs)');
  }
  return headDim;
}

/** Keys that change what a decoder computes and that none of ours has. */
function refuseForeignFeatures(reader: ConfigReader): void {
  for (const key of ['hidden_act', 'hidden_activation'])
    if (!['silu', 'swish'].includes(reader.string(key, 'silu'))) reader.refuse(key, 'silu');
  for (const key of ['num_experts', 'num_local_experts', 'n_routed_experts'])
    if (reader.has(key) && reader.raw(key) !== 0) reader.refuse(key, 'dense models (no mixture of experts)');
  for (const key of ['attn_logit_softcapping', 'final_logit_softcapping'])
    if (reader.has(key)) reader.refuse(key, 'no soft-capping of logits');
  if (reader.boolean('use_mrope', false)) reader.refuse('use_mrope', 'false (text positions only)');
  const classes = reader.strings('architectures') ?? [];
  if (classes.length > 0 && !classes.some((name) => name.endsWith('ForCausalLM')))
    reader.refuse('architectures', 'language models (…ForCausalLM)');
}

function throwComplaints(reader: ConfigReader, file: string): void {
  const { malformed, unsupported } = reader;
  const complaints = [...new Set([...malformed, ...unsupported])];
  if (complaints.length === 0) return;
  const list = complaints.map((complaint) => `\n  ${complaint}`).join('');
  if (malformed.length > 0)
    throw new FormatError(`settings that cannot be used:${list}`, {
      file,
      advice: 'fetch the file again, or correct the keys named above',
    });
  throw new UserError(`${file}: features that halfbyte does not have:${list}`, {
    advice: 'choose a model without them; running anyway would give wrong numbers',
  });
}
