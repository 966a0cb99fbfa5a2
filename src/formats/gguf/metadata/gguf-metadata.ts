import type { JsonObject } from '../../../io/json.js';
import type { GgufMetadata } from '../gguf-value.js';
import { PartBuilder } from './metadata-part.js';
import type { GgufModelConfig } from './model-config.js';
import { ggufArchitecture } from './model-config.js';
import { modelMetadata } from './model-metadata.js';
import { addSampling } from './special-tokens.js';
import type { TokenizerFiles } from './tokenizer-files.js';
import { tokenizerMetadata } from './tokenizer-metadata.js';

export interface GgufMetadataOptions {
  readonly config: GgufModelConfig;
  /** config.json as parsed, for the ids of special tokens. */
  readonly configJson: JsonObject;
  readonly tokenizer: TokenizerFiles;
  /** Free text, such as "owner/name". */
  readonly name: string;
  /** `general.file_type`: llama_ftype of llama.h, for display only. */
  readonly fileType: number;
  /** A tensor of a quantized type is in the file. */
  readonly quantized: boolean;
}

export interface GgufMetadataResult {
  readonly metadata: GgufMetadata;
  /** What llama.cpp will do differently from the checkpoint, for the user. */
  readonly notes: readonly string[];
  /** Reasons why this model cannot be a GGUF file; empty when it can. */
  readonly problems: readonly string[];
}

/** ggml's version of its block types; the only one in use. */
const QUANTIZATION_VERSION = 2;

/** All metadata of a model file (ggml's docs/gguf.md; types as llama.cpp's loader wants them). */
export function ggufMetadata(options: GgufMetadataOptions): GgufMetadataResult {
  const { config, configJson, tokenizer } = options;
  const part = new PartBuilder();
  part.string('general.architecture', ggufArchitecture(config.modelType) ?? config.modelType);
  part.string('general.type', 'model');
  part.string('general.name', options.name);
  addSampling(part, tokenizer.generation);
  part.join(modelMetadata(config));
  part.u32('general.file_type', options.fileType);
  part.join(tokenizerMetadata(tokenizer, configJson, config.vocabSize));
  if (options.quantized) part.u32('general.quantization_version', QUANTIZATION_VERSION);
  return { metadata: part.metadata(), notes: part.notes, problems: part.problems };
}
