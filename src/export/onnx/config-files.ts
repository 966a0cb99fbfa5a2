/** The settings files of an ONNX folder: config.json for transformers.js, genai_config.json for onnxruntime-genai. */
import type { ByteSource } from '../../io/byte-source.js';
import type { JsonObject } from '../../io/json.js';
import { isJsonObject, readJsonObject } from '../../io/json.js';
import type { ModelConfig } from '../../model/types.js';
import { jsonText } from '../config-text.js';

export interface OnnxFolderFacts {
  /** transformers.js's dtype: the part of the file name after "model_". */
  readonly dtype: 'q4' | 'q4f16';
  /** model_q4.onnx */
  readonly modelFile: string;
  /** Files of external data. */
  readonly chunks: number;
}

/** The key under which transformers.js looks for its settings. */
const TRANSFORMERS_JS = 'transformers.js_config';

/**
 * config.json with the settings of transformers.js at its end. The original text is kept where it can be, because a
 * JavaScript round trip would turn 10000.0 into 10000.
 */
export function onnxConfigText(text: string, json: JsonObject, facts: OnnxFolderFacts): string {
  const old = json[TRANSFORMERS_JS];
  const settings = {
    ...(isJsonObject(old) ? old : {}),
    dtype: facts.dtype,
    use_external_data_format: { [facts.modelFile]: facts.chunks },
    // Read by transformers.js 3; 4 takes it from the model.
    kv_cache_dtype: { q4f16: 'float16', fp16: 'float16' },
  };
  const end = text.lastIndexOf('}');
  if (Object.hasOwn(json, TRANSFORMERS_JS) || Object.keys(json).length === 0 || end < 0)
    return jsonText({ ...json, [TRANSFORMERS_JS]: settings });
  const value = JSON.stringify(settings, null, 2).replaceAll('\n', '\n  ');
  return `${text.slice(0, end).trimEnd()},\n  "${TRANSFORMERS_JS}": ${value}\n}\n`;
}

const GENERATION_CONFIG = 'generation_config.json';

/** Token ids for genai_config.json: generation_config.json's where there is one, else config.json's. */
export async function readTokenIds(
  config: JsonObject,
  sideFiles: ReadonlyMap<string, ByteSource>,
  signal: AbortSignal | undefined,
): Promise<JsonObject> {
  const source = sideFiles.get(GENERATION_CONFIG);
  const generation = source === undefined ? {} : await readJsonObject(source, signal);
  const found = ['bos_token_id', 'eos_token_id', 'pad_token_id'].flatMap((key) => {
    const value = generation[key] ?? config[key];
    return value === undefined || value === null ? [] : [[key, value] as const];
  });
  const ids = Object.fromEntries(found);
  const end: unknown = Array.isArray(ids.eos_token_id) ? ids.eos_token_id[0] : ids.eos_token_id;
  // genai wants a padding token; models without one are padded with their end of text.
  return ids.pad_token_id !== undefined || end === undefined ? ids : { ...ids, pad_token_id: end };
}

/** genai_config.json (onnxruntime-genai, src/config.cpp). */
export function genaiConfigText(config: ModelConfig, tokenIds: JsonObject, facts: OnnxFolderFacts): string {
  const cache = (prefix: string, part: string): string => `${prefix}.%d.${part}`;
  return jsonText({
    model: {
      ...tokenIds,
      context_length: config.maxPositionEmbeddings,
      decoder: {
        session_options: { log_id: 'onnxruntime-genai', provider_options: [] },
        filename: `onnx/${facts.modelFile}`,
        head_size: config.headDim,
        hidden_size: config.hiddenSize,
        inputs: {
          input_ids: 'input_ids',
          attention_mask: 'attention_mask',
          past_key_names: cache('past_key_values', 'key'),
          past_value_names: cache('past_key_values', 'value'),
        },
        outputs: {
          logits: 'logits',
          present_key_names: cache('present', 'key'),
          present_value_names: cache('present', 'value'),
        },
        num_attention_heads: config.numAttentionHeads,
        num_hidden_layers: config.numHiddenLayers,
        num_key_value_heads: config.numKeyValueHeads,
      },
      type: config.modelType,
      vocab_size: config.vocabSize,
    },
    search: {
      diversity_penalty: 0,
      do_sample: false,
      early_stopping: true,
      length_penalty: 1,
      max_length: config.maxPositionEmbeddings,
      min_length: 0,
      no_repeat_ngram_size: 0,
      num_beams: 1,
      num_return_sequences: 1,
      past_present_share_buffer: false,
      repetition_penalty: 1,
      temperature: 1,
      top_k: 1,
      top_p: 1,
    },
  });
}
