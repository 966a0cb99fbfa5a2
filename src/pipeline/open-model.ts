import { FormatError, UserError } from '../core/errors.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../formats/safetensors/checkpoint.js';
import type { ResolvedModel } from '../hub/index.js';
import type { ByteSource } from '../io/byte-source.js';
import type { JsonObject } from '../io/json.js';
import { describeJson, isJsonObject, parseJson, readJson, readText } from '../io/json.js';
import { parseModelConfig } from '../model/index.js';
import type { ModelConfig } from '../model/types.js';
import type { TextTokenizer } from '../text/index.js';
import { createTokenizer } from '../text/index.js';
import type { QuantizedReader } from './quantized-reader.js';
import { openQuantizedReader } from './readers/index.js';
import { checkRequiredTensors } from './required-tensors.js';

/** A model whose config and headers are read and found to belong together; no weight is read yet. */
export interface OpenedModel {
  readonly model: ResolvedModel;
  /** config.json as parsed, and as it stands in the file. */
  readonly configJson: JsonObject;
  readonly configText: string;
  readonly config: ModelConfig;
  readonly checkpoint: Checkpoint;
  /** Set for quantized checkpoints. */
  readonly quantized: QuantizedReader | undefined;
}

/** Errors: FormatError listing all missing or misshapen tensors; UserError for what halfbyte cannot run. */
export async function openModel(model: ResolvedModel, signal?: AbortSignal): Promise<OpenedModel> {
  const configFile = requireFile(model, 'config.json', 'point MODEL at a Hugging Face checkpoint folder');
  const configText = await readText(configFile, signal);
  const configJson = requireObject(parseJson(configText, configFile.name), configFile.name);
  const config = parseModelConfig(configJson, configFile.name);
  const checkpoint = await openCheckpoint(model.files, signal);
  const quantized = openQuantizedReader(configJson, checkpoint, configFile.name);
  checkRequiredTensors(checkpoint, config, quantized);
  return { model, configJson, configText, config, checkpoint, quantized };
}

/** The tokenizer beside the weights. */
export async function openTokenizer(opened: OpenedModel, signal?: AbortSignal): Promise<TextTokenizer> {
  const advice = 'fetch tokenizer.json of this model, or save it with a fast tokenizer of transformers';
  const file = requireFile(opened.model, 'tokenizer.json', advice);
  const configFile = opened.model.files.get('tokenizer_config.json');
  const config = configFile === undefined ? undefined : await readJson(configFile, signal);
  return createTokenizer({
    tokenizer: await readJson(file, signal),
    ...(config === undefined ? {} : { config }),
    modelVocabSize: opened.config.vocabSize,
    file: file.name,
  });
}

function requireObject(value: unknown, file: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw new FormatError(`a JSON object expected, ${describeJson(value)} found`, { file });
}

function requireFile(model: ResolvedModel, name: string, advice: string): ByteSource {
  const file = model.files.get(name);
  if (file !== undefined) return file;
  throw new FormatError(`${name} is missing among its ${model.files.size} files`, {
    file: model.name,
    advice,
  });
}

/** UserError unless the model's weights are plain numbers. */
export function refuseQuantized({ quantized, model }: OpenedModel): void {
  if (quantized === undefined) return;
  throw new UserError(`${model.name} is quantized already (${quantized.format})`, {
    advice: 'quantize the 16-bit model it was made from, or `halfbyte convert` it to another format',
  });
}
