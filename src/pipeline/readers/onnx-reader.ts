import { castElements } from '../../core/cast-elements.js';
import { Bug, FormatError, UserError } from '../../core/errors.js';
import type { AffineLinear } from '../../core/quantized-linear.js';
import type { NBitsModule } from '../../formats/onnx/find-decoder-weights.js';
import { findDecoderWeights } from '../../formats/onnx/find-decoder-weights.js';
import { decodeNBits, symmetricZeros } from '../../formats/onnx/matmul-nbits.js';
import { ONNX_TYPES } from '../../formats/onnx/onnx-model.js';
import type { StoredTensor } from '../../formats/onnx/read-onnx-model.js';
import { readOnnxModel } from '../../formats/onnx/read-onnx-model.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import { viewBytes } from '../../io/byte-views.js';
import type { ByteSource } from '../../io/byte-source.js';
import { readJsonObject, readText } from '../../io/json.js';
import type { JsonObject } from '../../io/json.js';
import { streamChunks } from '../../io/stream-chunks.js';
import { firstNonFinite } from '../check-finite.js';
import type { ForeignModel, QuantizedReader } from '../quantized-reader.js';

/** Where several models of different precision lie side by side, ours and 4-bit ones first. */
const PREFERRED = ['onnx/model_q4.onnx', 'onnx/model_q4f16.onnx'];

/**
 * The decoder of an ONNX folder (config.json beside onnx/model_q4.onnx or a single other .onnx file); undefined where there
 * is no .onnx file. Reads the graph, no weight. FormatError for damaged files; UserError for graphs whose weights cannot be
 * told apart and for a choice among several files.
 */
export async function openOnnxModel(
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<ForeignModel | undefined> {
  const file = chooseFile([...files.keys()].filter((name) => name.endsWith('.onnx')));
  if (file === undefined) return undefined;
  const config = files.get('config.json');
  if (config === undefined)
    throw new FormatError('config.json is missing beside the ONNX model', {
      file,
      advice: 'point MODEL at the folder that holds config.json and onnx/',
    });
  const graph = await readOnnxModel(files, file, signal);
  const { quantized, dense } = findDecoderWeights(graph, file);
  const text = await readText(config, signal);
  const configJson = withoutLoaderSettings(await readJsonObject(config, signal));
  return {
    configJson,
    configText: originalText(text, configJson),
    checkpoint: createCheckpoint(files, dense, file),
    quantized: quantized.size === 0 ? undefined : createReader(files, quantized),
  };
}

function chooseFile(names: readonly string[]): string | undefined {
  if (names.length < 2) return names.at(0);
  const preferred = PREFERRED.find((name) => names.includes(name));
  if (preferred !== undefined) return preferred;
  throw new UserError(`several ONNX models: ${names.join(', ')}`, {
    advice: `keep one of them, or name it ${PREFERRED[0]}`,
  });
}

/** config.json as it stands beside a checkpoint: what transformers.js adds is about this folder's files. */
function withoutLoaderSettings(config: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(config).filter(([key]) => key !== 'transformers.js_config'));
}

/** config.json's text with our settings cut off its end; undefined where they stand elsewhere. */
function originalText(text: string, config: JsonObject): string | undefined {
  const at = text.lastIndexOf(',\n  "transformers.js_config": ');
  const cut = at < 0 ? text : `${text.slice(0, at)}\n}\n`;
  try {
    return JSON.stringify(JSON.parse(cut)) === JSON.stringify(config) ? cut : undefined;
  } catch {
    return undefined;
  }
}

function createCheckpoint(
  files: ReadonlyMap<string, ByteSource>,
  dense: ReadonlyMap<string, StoredTensor>,
  modelFile: string,
): Checkpoint {
  const tensors = new Map(
    [...dense].map(([name, { type, dims, file, begin, end }]) => [
      name,
      { name, dtype: type, shape: dims, file, begin, end },
    ]),
  );
  const info: Checkpoint['info'] = (name) => {
    const found = tensors.get(name);
    if (found !== undefined) return found;
    throw new FormatError('the tensor is missing', {
      file: modelFile,
      tensor: name,
      advice: `the graph holds ${tensors.size} dense tensors; check that it belongs to the config beside it`,
    });
  };
  const readRange: Checkpoint['readRange'] = async (name, { offset, length }, signal) => {
    const { file, begin, end } = info(name);
    if (!(offset >= 0 && length >= 0 && offset + length <= end - begin))
      throw new FormatError(
        `bytes ${offset} to ${offset + length} asked for, the tensor has ${end - begin}`,
        {
          file,
          tensor: name,
        },
      );
    return sourceOf(files, file).read(begin + offset, length, signal);
  };
  return {
    tensors,
    metadata: new Map(),
    unindexed: [],
    shards: [...new Set([modelFile, ...[...tensors.values()].map(({ file }) => file)])],
    info,
    readRange,
    read: async (name, signal) => {
      const { begin, end } = info(name);
      return readRange(name, { offset: 0, length: end - begin }, signal);
    },
    stream: (name, options = {}) => {
      const { file, begin, end } = info(name);
      return streamChunks(sourceOf(files, file), begin, end - begin, options);
    },
  };
}

function sourceOf(files: ReadonlyMap<string, ByteSource>, file: string): ByteSource {
  const source = files.get(file);
  if (source === undefined) throw new Bug(`internal: ${file} was there when the graph was read`);
  return source;
}

function createReader(
  files: ReadonlyMap<string, ByteSource>,
  quantized: ReadonlyMap<string, NBitsModule>,
): QuantizedReader {
  const find = (module: string): NBitsModule => {
    const found = quantized.get(module);
    if (found === undefined) throw new Bug(`internal: ${module} is not stored quantized`);
    return found;
  };
  const modules = [...quantized.values()];
  return {
    format: 'onnx',
    bits: common(modules.map(({ shape }) => shape.bits)),
    groupSize: common(modules.map(({ shape }) => shape.blockSize)),
    // Where zero points are stored only their values tell.
    symmetric: modules.every(({ zeros }) => zeros === undefined) ? true : null,
    modules: new Set(quantized.keys()),
    packing: new Set(),
    shape: (module) => {
      const { outFeatures, inFeatures } = find(module).shape;
      return [outFeatures, inFeatures];
    },
    storedBits: (module) => {
      const { shape, weight, scales, zeros } = find(module);
      const bytes = [weight, scales, zeros].reduce(
        (sum, part) => sum + (part === undefined ? 0 : part.end - part.begin),
        0,
      );
      return (bytes * 8) / (shape.outFeatures * shape.inFeatures);
    },
    read: (module, signal) => readModule(files, find(module), signal),
  };
}

function common(values: readonly number[]): number | null {
  return values.every((value) => value === values[0]) ? values[0] : null;
}

async function readModule(
  files: ReadonlyMap<string, ByteSource>,
  { shape, weight, scales, zeros }: NBitsModule,
  signal: AbortSignal | undefined,
): Promise<AffineLinear> {
  const bytesOf = ({ file, begin, end }: StoredTensor): Promise<Uint8Array> =>
    sourceOf(files, file).read(begin, end - begin, signal);
  const scaleBytes = await bytesOf(scales);
  const { name, type } = scales;
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') throw new Bug(`internal: scales of ${type}`);
  const bad = firstNonFinite(scaleBytes, type);
  if (bad >= 0)
    throw new FormatError(`scale ${bad} is not finite`, {
      file: scales.file,
      tensor: name,
      offset: scales.begin + bad * ONNX_TYPES[type].bytes,
      advice: 'the file is damaged: fetch or make it again',
    });
  return decodeNBits(
    {
      weight: await bytesOf(weight),
      scales: viewBytes(castElements(scaleBytes, type, 'F32'), Float32Array),
      zeros: zeros === undefined ? symmetricZeros(shape) : await bytesOf(zeros),
    },
    shape,
  );
}
