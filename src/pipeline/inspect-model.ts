import { product } from '../core/dims.js';
import { HalfbyteError } from '../core/errors.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../formats/safetensors/checkpoint.js';
import type { ResolvedModel } from '../hub/index.js';
import type { JsonObject } from '../io/json.js';
import { isJsonObject, readJsonObject } from '../io/json.js';
import { parseModelConfig } from '../model/index.js';
import type { GptqReader } from './gptq-reader.js';
import { openGptqReader } from './gptq-reader.js';

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
  const checkpoint = await openCheckpoint(model.files, signal);
  const configFile = model.files.get('config.json');
  const json = configFile === undefined ? {} : await readJsonObject(configFile, signal);
  const facts = describeConfig(json, configFile?.name);
  const quantization = describeQuantization(json, checkpoint, configFile?.name ?? 'config.json');
  const tensors = [...checkpoint.tensors.values()].map((info) => ({
    name: info.name,
    dtype: info.dtype,
    shape: info.shape,
    bytes: info.end - info.begin,
    file: info.file,
  }));
  const bytes = tensors.reduce((total, tensor) => total + tensor.bytes, 0);
  const parameters = countParameters(checkpoint, quantization.reader);
  return {
    model: model.name,
    revision: model.revision ?? null,
    ...facts,
    files: checkpoint.shards.length,
    bytes,
    parameters,
    bitsPerWeight: parameters === 0 ? 0 : (bytes * 8) / parameters,
    dtypes: countDTypes(tensors),
    quantization: quantization.report,
    tensors,
  };
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

interface QuantizationFacts {
  readonly reader: GptqReader | undefined;
  readonly report: InspectReport['quantization'];
}

function describeQuantization(json: JsonObject, checkpoint: Checkpoint, file: string): QuantizationFacts {
  const found = json.quantization_config;
  if (found === undefined || found === null) return { reader: undefined, report: null };
  const method = isJsonObject(found) ? (found.quant_method ?? found.method) : undefined;
  if (method !== 'gptq') {
    const nothing = {
      bits: null,
      groupSize: null,
      symmetric: null,
      format: null,
      linears: 0,
      bitsPerWeight: null,
    };
    return {
      reader: undefined,
      report: { method: typeof method === 'string' ? method : 'unknown', ...nothing },
    };
  }
  const reader = openGptqReader(json, checkpoint, file);
  if (reader === undefined) return { reader, report: null };
  const { settings, modules } = reader;
  return {
    reader,
    report: {
      method,
      bits: settings.bits,
      groupSize: settings.groupSize,
      symmetric: settings.symmetric,
      format: settings.checkpointFormat,
      linears: modules.size,
      bitsPerWeight:
        modules.size === 0 ? null : storedBits(checkpoint, modules) / packedWeights(checkpoint, reader),
    },
  };
}

const PACKING = /\.(qweight|qzeros|scales|g_idx)$/;

function storedBits(checkpoint: Checkpoint, modules: ReadonlySet<string>): number {
  let bytes = 0;
  for (const { name, begin, end } of checkpoint.tensors.values())
    if (PACKING.test(name) && modules.has(name.replace(PACKING, ''))) bytes += end - begin;
  return bytes * 8;
}

/** Weights that lie in codes: qweight [K·bits/32, N] holds K·N of them. */
function packedWeights(checkpoint: Checkpoint, { modules, settings }: GptqReader): number {
  let weights = 0;
  for (const module of modules)
    weights += (product(checkpoint.info(`${module}.qweight`).shape) * 32) / settings.bits;
  return weights;
}

function countParameters(checkpoint: Checkpoint, reader: GptqReader | undefined): number {
  let plain = 0;
  for (const { name, shape } of checkpoint.tensors.values()) {
    const isPacking = PACKING.test(name) && reader?.has(name.replace(PACKING, '')) === true;
    if (!isPacking) plain += product(shape);
  }
  return plain + (reader === undefined ? 0 : packedWeights(checkpoint, reader));
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
