import { FormatError } from '../core/errors.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../formats/safetensors/checkpoint.js';
import type { ResolvedModel } from '../hub/index.js';
import { jsonText } from '../export/config-text.js';
import type { ByteSource } from '../io/byte-source.js';
import type { JsonObject } from '../io/json.js';
import { describeJson, isJsonObject, parseJson, readText } from '../io/json.js';
import { createTextSource } from '../io/memory-source.js';
import type { ForeignModel, QuantizedReader } from './quantized-reader.js';
import { openContainer, openQuantizedReader } from './readers/index.js';

/** Weights and config of a model in any format, headers read and no weight yet. */
export interface OpenedWeights {
  /** The name in the container where it has one, else where the model was found. */
  readonly name: string;
  /** config.json as parsed, and as it stands in the file. */
  readonly configJson: JsonObject;
  readonly configText: string;
  /** Where config.json came from, for messages. */
  readonly configFile: string;
  /** Dense tensors under their Hugging Face names. */
  readonly checkpoint: Checkpoint;
  /** Set for quantized models. */
  readonly quantized: QuantizedReader | undefined;
  /** The model's files, with the tokenizer of a container among them where no such file stands beside it. */
  readonly files: ReadonlyMap<string, ByteSource>;
}

/**
 * Recognises the format by what is there: safetensors first, then GGUF, then ONNX. FormatError for damaged files, a missing
 * config.json, and folders without weights.
 */
export async function openWeights(model: ResolvedModel, signal?: AbortSignal): Promise<OpenedWeights> {
  const hasSafetensors = [...model.files.keys()].some((name) => /\.safetensors(\.index\.json)?$/.test(name));
  const container = hasSafetensors ? undefined : await openContainer(model.files, signal);
  if (container !== undefined) return fromContainer(model, container);
  const config = model.files.get('config.json');
  if (config === undefined)
    throw new FormatError(`config.json is missing among its ${model.files.size} files`, {
      file: model.name,
      advice: 'point MODEL at a Hugging Face checkpoint folder',
    });
  const configText = await readText(config, signal);
  const configJson = requireObject(parseJson(configText, config.name), config.name);
  const checkpoint = await openCheckpoint(model.files, signal);
  return {
    name: model.name,
    configJson,
    configText,
    configFile: config.name,
    checkpoint,
    quantized: await openQuantizedReader(configJson, checkpoint, config.name, signal),
    files: model.files,
  };
}

function fromContainer(model: ResolvedModel, container: ForeignModel): OpenedWeights {
  const { configJson, checkpoint, quantized, tokenizer, generation } = container;
  const made: [string, JsonObject | undefined][] = [
    ['tokenizer.json', tokenizer?.tokenizer],
    ['tokenizer_config.json', tokenizer?.config],
    ['generation_config.json', generation],
  ];
  const files = new Map(model.files);
  for (const [name, json] of made)
    if (json !== undefined && !files.has(name)) files.set(name, createTextSource(name, jsonText(json)));
  return {
    name: container.name ?? model.name,
    configJson,
    configText: container.configText ?? jsonText(configJson),
    configFile: model.files.get('config.json')?.name ?? model.name,
    checkpoint,
    quantized,
    files,
  };
}

function requireObject(value: unknown, file: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw new FormatError(`a JSON object expected, ${describeJson(value)} found`, { file });
}
