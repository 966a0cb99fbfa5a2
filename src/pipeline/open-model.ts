import { FormatError, UserError } from '../core/errors.js';
import type { ResolvedModel } from '../hub/index.js';
import type { ByteSource } from '../io/byte-source.js';
import { readJson } from '../io/json.js';
import { parseModelConfig } from '../model/index.js';
import type { ModelConfig } from '../model/types.js';
import type { TextTokenizer } from '../text/index.js';
import { createTokenizer } from '../text/index.js';
import type { OpenedWeights } from './open-weights.js';
import { openWeights } from './open-weights.js';
import { checkRequiredTensors } from './required-tensors.js';

/** A model whose config and headers are read and found to belong together; no weight is read yet. */
export interface OpenedModel extends OpenedWeights {
  readonly model: ResolvedModel;
  readonly config: ModelConfig;
}

/** Errors: FormatError listing all missing or misshapen tensors; UserError for what halfbyte cannot run. */
export async function openModel(model: ResolvedModel, signal?: AbortSignal): Promise<OpenedModel> {
  const weights = await openWeights(model, signal);
  const config = parseModelConfig(weights.configJson, weights.configFile);
  checkRequiredTensors(weights.checkpoint, config, weights.quantized);
  return { ...weights, model, config };
}

/** The tokenizer beside the weights. */
export async function openTokenizer(opened: OpenedModel, signal?: AbortSignal): Promise<TextTokenizer> {
  const advice = 'fetch tokenizer.json of this model, or save it with a fast tokenizer of transformers';
  const file = requireFile(opened, 'tokenizer.json', advice);
  const configFile = opened.files.get('tokenizer_config.json');
  const config = configFile === undefined ? undefined : await readJson(configFile, signal);
  return createTokenizer({
    tokenizer: await readJson(file, signal),
    ...(config === undefined ? {} : { config }),
    modelVocabSize: opened.config.vocabSize,
    file: file.name,
  });
}

function requireFile({ model, files }: OpenedModel, name: string, advice: string): ByteSource {
  const file = files.get(name);
  if (file !== undefined) return file;
  throw new FormatError(`${name} is missing among its ${files.size} files`, {
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
