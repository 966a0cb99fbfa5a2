import { product } from '../core/dims.js';
import { HalfbyteError, UserError } from '../core/errors.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../formats/safetensors/checkpoint.js';
import type { ResolvedModel } from '../hub/index.js';
import type { JsonObject } from '../io/json.js';
import { isJsonObject, readJsonObject } from '../io/json.js';
import { parseModelConfig } from '../model/index.js';
import type { QuantizedReader } from './quantized-reader.js';
import type { OpenedWeights } from './open-weights.js';
import { openWeights } from './open-weights.js';
import { openQuantizedReader } from './readers/index.js';

export interface TensorRow {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly file: string;
}

/** What `inspect --json` prints. */
export interface InspectReport {
  readonly model: string;
  readonly revision: string | null;
  /** config.json's architectures[0], else its model_type. */
  readonly architecture: string | null;
  /** Why halfbyte cannot run this model; null when it can. */
  readonly unsupported: string | null;
  readonly config: {
    readonly layers: number;
    readonly hiddenSize: number;
    readonly intermediateSize: number;
    readonly heads: number;
    readonly keyValueHeads: number;
    readonly vocabSize: number;
    readonly maxPositions: number;
    readonly tiedEmbeddings: boolean;
  } | null;
  readonly files: number;
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** Weights, those packed into codes counted one by one; packing tensors are not weights. */
  readonly parameters: number;
  /** Stored bits of everything per weight. */
  readonly bitsPerWeight: number;
  readonly dtypes: Readonly<Record<string, { readonly tensors: number; readonly bytes: number }>>;
  readonly quantization: {
    readonly method: string;
    readonly bits: number | null;
    readonly groupSize: number | null;
    readonly symmetric: boolean | null;
    readonly format: string | null;
    readonly linears: number;
    /** Stored bits (codes, scales, zeros, group index) per weight of the quantized linears. */
    readonly bitsPerWeight: number | null;
  } | null;
  readonly tensors: readonly TensorRow[];
}

/** Reads config and headers, no weights. FormatError for damaged headers; a model halfbyte cannot run is described too. */
export async function inspectModel(model: ResolvedModel, signal?: AbortSignal): Promise<InspectReport> {
  const opened = await openForInspection(model, signal);
  const { configJson, configFile, checkpoint, quantized } = opened;
  const dense = [...checkpoint.tensors.values()].map((info) => ({
    name: info.name,
    dtype: info.dtype,
    shape: info.shape,
    bytes: info.end - info.begin,
    file: info.file,
  }));
  const tensors = [...dense, ...packedRows(opened)];
  const bytes = tensors.reduce((total, tensor) => total + tensor.bytes, 0);
  const parameters = countParameters(checkpoint, quantized);
  return {
    model: model.name,
    revision: model.revision ?? null,
    ...describeConfig(configJson, configFile),
    files: checkpoint.shards.length,
    bytes,
    parameters,
    bitsPerWeight: parameters === 0 ? 0 : (bytes * 8) / parameters,
    dtypes: countDTypes(tensors),
    quantization: describeQuantization(configJson, quantized),
    tensors,
  };
}

interface Inspected extends Pick<OpenedWeights, 'configJson' | 'checkpoint' | 'quantized'> {
  readonly configFile: string | undefined;
}

/** Like openWeights, but content with less: no config.json, or a quantization that halfbyte does not read. */
async function openForInspection(model: ResolvedModel, signal?: AbortSignal): Promise<Inspected> {
  const config = model.files.get('config.json');
  const json = config === undefined ? undefined : await readJsonObject(config, signal);
  const isPlain = [...model.files.keys()].some((name) => name.endsWith('.safetensors'));
  if (!isPlain) return openWeights(model, signal);
  const checkpoint = await openCheckpoint(model.files, signal);
  const configJson = json ?? {};
  const quantized = await tryOpenReader(configJson, checkpoint, config?.name ?? 'config.json', signal);
  return { configJson, configFile: config?.name, checkpoint, quantized };
}

/** Quantized modules of containers, whose tensors have no names of their own in a checkpoint. */
function packedRows({ checkpoint, quantized }: Inspected): TensorRow[] {
  if (quantized === undefined || quantized.packing.size > 0) return [];
  return [...quantized.modules].map((module) => {
    const shape = quantized.shape(module);
    return {
      name: `${module}.weight`,
      dtype: quantized.format,
      shape,
      bytes: (quantized.storedBits(module) * product(shape)) / 8,
      file: checkpoint.shards[0],
    };
  });
}

function describeConfig(
  json: JsonObject,
  file: string | undefined,
): Pick<InspectReport, 'architecture' | 'unsupported' | 'config'> {
  const names = json.architectures;
  const listed = Array.isArray(names) && typeof names[0] === 'string' ? names[0] : undefined;
  const architecture = listed ?? (typeof json.model_type === 'string' ? json.model_type : null);
  if (file === undefined) return { architecture, unsupported: 'config.json is missing', config: null };
  try {
    const config = parseModelConfig(json, file);
    return {
      architecture,
      unsupported: null,
      config: {
        layers: config.numHiddenLayers,
        hiddenSize: config.hiddenSize,
        intermediateSize: config.intermediateSize,
        heads: config.numAttentionHeads,
        keyValueHeads: config.numKeyValueHeads,
        vocabSize: config.vocabSize,
        maxPositions: config.maxPositionEmbeddings,
        tiedEmbeddings: config.tieWordEmbeddings,
      },
    };
  } catch (error) {
    if (!(error instanceof HalfbyteError)) throw error;
    return { architecture, unsupported: error.message, config: null };
  }
}

function describeQuantization(
  json: JsonObject,
  reader: QuantizedReader | undefined,
): InspectReport['quantization'] {
  if (reader === undefined) {
    const found = json.quantization_config;
    if (!isJsonObject(found)) return null;
    const method = found.quant_method ?? found.method;
    return { ...NOTHING_KNOWN, method: typeof method === 'string' ? method : 'unknown' };
  }
  const { format, bits, groupSize, symmetric, modules } = reader;
  let stored = 0;
  for (const module of modules) stored += reader.storedBits(module) * product(reader.shape(module));
  return {
    method: methodOf(json) ?? format,
    bits,
    groupSize,
    symmetric,
    format,
    linears: modules.size,
    bitsPerWeight: modules.size === 0 ? null : stored / packedWeights(reader),
  };
}

const NOTHING_KNOWN = {
  bits: null,
  groupSize: null,
  symmetric: null,
  format: null,
  linears: 0,
  bitsPerWeight: null,
} as const;

function methodOf({ quantization_config: found }: JsonObject): string | undefined {
  const method = isJsonObject(found) ? (found.quant_method ?? found.method) : undefined;
  return typeof method === 'string' ? method : undefined;
}

/** The reader, or undefined where halfbyte cannot read the method: inspect then describes what it can. */
async function tryOpenReader(
  json: JsonObject,
  checkpoint: Checkpoint,
  file: string,
  signal?: AbortSignal,
): Promise<QuantizedReader | undefined> {
  try {
    return await openQuantizedReader(json, checkpoint, file, signal);
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

function packedWeights(reader: QuantizedReader): number {
  let weights = 0;
  for (const module of reader.modules) weights += product(reader.shape(module));
  return weights;
}

function countParameters(checkpoint: Checkpoint, reader: QuantizedReader | undefined): number {
  let plain = 0;
  for (const { name, shape } of checkpoint.tensors.values())
    if (reader?.packing.has(name) !== true) plain += product(shape);
  return plain + (reader === undefined ? 0 : packedWeights(reader));
}

function countDTypes(tensors: readonly TensorRow[]): InspectReport['dtypes'] {
  const counts: Record<string, { tensors: number; bytes: number }> = {};
  for (const { dtype, bytes } of tensors) {
    const count = (counts[dtype] ??= { tensors: 0, bytes: 0 });
    count.tensors += 1;
    count.bytes += bytes;
  }
  return counts;
}
