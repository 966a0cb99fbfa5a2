import { FormatError, UserError } from '../../core/errors.js';
import { isAwqConfig } from '../../formats/awq/awq-config.js';
import { isMlxConfig } from '../../formats/mlx/mlx-config.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { JsonObject } from '../../io/json.js';
import { describeJson, isJsonObject } from '../../io/json.js';
import type { ByteSource } from '../../io/byte-source.js';
import type { ForeignModel, QuantizedReader } from '../quantized-reader.js';
import { openAwqReader } from './awq-reader.js';
import { openBitsandbytesReader } from './bitsandbytes-reader.js';
import { openCompressedTensorsReader } from './compressed-tensors-reader.js';
import { openGguf } from './gguf-reader.js';
import { openGptqReader } from './gptq-reader.js';
import { openMlxReader } from './mlx-reader.js';
import { openOnnxModel } from './onnx-reader.js';

/**
 * The reader for a safetensors checkpoint by what its config.json says; undefined for plain ones. UserError for methods
 * that halfbyte does not read, FormatError for nonsense.
 */
export async function openQuantizedReader(
  config: JsonObject,
  checkpoint: Checkpoint,
  file: string,
  signal?: AbortSignal,
): Promise<QuantizedReader | undefined> {
  if (isMlxConfig(config)) return openMlxReader(config, checkpoint, file);
  const quantization = config.quantization_config;
  if (quantization === undefined || quantization === null) return undefined;
  if (!isJsonObject(quantization))
    throw new FormatError(`quantization_config: an object expected, ${describeJson(quantization)} found`, {
      file,
    });
  const method = quantization.quant_method ?? quantization.method;
  // AutoAWQ's first folders name no method.
  if (method === undefined && isAwqConfig(quantization)) return openAwqReader(quantization, checkpoint, file);
  switch (method) {
    case 'gptq':
      return openGptqReader(quantization, checkpoint, file);
    case 'awq':
      return openAwqReader(quantization, checkpoint, file);
    case 'bitsandbytes':
      return openBitsandbytesReader(quantization, checkpoint, file, signal);
    case 'compressed-tensors':
      return openCompressedTensorsReader(quantization, checkpoint, file);
    default:
      throw new UserError(
        `${file}: weights quantized by ${describeJson(method)} cannot be read; gptq, awq, bitsandbytes, compressed-tensors and mlx can`,
        { advice: 'use the 16-bit model, or a folder of a method named here' },
      );
  }
}

/** The model in a container among `files` (GGUF, ONNX); undefined where there is none. */
export async function openContainer(
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<ForeignModel | undefined> {
  for (const open of CONTAINERS) {
    const found = await open(files, signal);
    if (found !== undefined) return found;
  }
  return undefined;
}

const CONTAINERS: readonly ((
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
) => Promise<ForeignModel | undefined>)[] = [openGguf, openOnnxModel];
