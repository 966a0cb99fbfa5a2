import { product } from '../../core/dims.js';
import { Bug, FormatError, UserError } from '../../core/errors.js';
import type { Grid, QuantizedLinear } from '../../core/quantized-linear.js';
import { createRowDecoder } from '../../formats/gguf/blocks/row-decoder.js';
import type { BlockType } from '../../formats/gguf/block-types.js';
import { isBlockType, rowBytes } from '../../formats/gguf/block-types.js';
import type { GgufFiles } from '../../formats/gguf/gguf-files.js';
import { openGgufFiles } from '../../formats/gguf/gguf-files.js';
import type { GgufTensorInfo } from '../../formats/gguf/gguf-header.js';
import { ggufArchitecture, isGgufArchitecture } from '../../formats/gguf/metadata/model-config.js';
import { readGgufConfig } from '../../formats/gguf/metadata/read-config.js';
import { readGgufSampling } from '../../formats/gguf/metadata/read-sampling.js';
import { readGgufTokenizer } from '../../formats/gguf/metadata/read-tokenizer.js';
import { ROPE_FREQS } from '../../formats/gguf/metadata/rope-freqs.js';
import { headPermutation } from '../../formats/gguf/row-permutation.js';
import {
  checkpointName,
  EMBEDDING_MODULE,
  HEAD_MODULE,
  isPermuted,
} from '../../formats/gguf/tensor-names.js';
import type { ByteSource } from '../../io/byte-source.js';
import { viewBytes } from '../../io/byte-views.js';
import type { JsonObject } from '../../io/json.js';
import { readJsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import { DEFAULT_WINDOW_BYTES } from '../../io/stream-chunks.js';
import type { ForeignModel, QuantizedReader } from '../quantized-reader.js';
import type { GgufCheckpointTensor } from './gguf-checkpoint.js';
import { createGgufCheckpoint } from './gguf-checkpoint.js';

/**
 * The GGUF model among `files` as a Hugging Face checkpoint: dense tensors and codes under their names there, rows of
 * query and key projections where they were. config.json and tokenizer.json beside the file win over its metadata.
 * Undefined where there is no .gguf file. Reads headers, no weight. FormatError for damaged files, UserError listing what
 * halfbyte does not read.
 */
export async function openGguf(
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<ForeignModel | undefined> {
  const gguf = await openGgufFiles(files, signal);
  if (gguf === undefined) return undefined;
  const architecture = readArchitecture(gguf);
  const configJson = await readConfig(gguf, files, signal);
  checkArchitecture(architecture, configJson, gguf.file);
  const tensors = nameTensors(gguf, architecture, configJson);
  const blocks = new Map<string, BlockTensor>();
  const inCheckpoint = new Map<string, GgufCheckpointTensor>();
  for (const [name, tensor] of tensors) {
    if (!isBlockType(tensor.info.type)) inCheckpoint.set(name, tensor);
    else {
      blocks.set(name.replace(/\.weight$/, ''), { ...tensor, type: tensor.info.type });
      inCheckpoint.set(tensor.info.name, { info: tensor.info });
    }
  }
  const checkpoint = createGgufCheckpoint({ files, shards: gguf.files, tensors: inCheckpoint });
  const name = gguf.metadata.get('general.name');
  return {
    name: name?.type === 'string' ? name.value : undefined,
    configJson,
    checkpoint,
    quantized: blocks.size === 0 ? undefined : createReader(files, blocks),
    tokenizer: files.has('tokenizer.json') ? undefined : readTokenizer(gguf),
    generation: readGgufSampling(gguf.metadata),
  };
}

/** Undefined for kinds of tokenizers that tokenizer.json cannot express: the weights can be read without. */
function readTokenizer({ metadata, file }: GgufFiles): ForeignModel['tokenizer'] {
  const found = readGgufTokenizer(metadata, file);
  return found.kind === 'files' ? found : undefined;
}

interface BlockTensor extends GgufCheckpointTensor {
  readonly type: BlockType;
}

function readArchitecture({ metadata, file }: GgufFiles): string {
  const entry = metadata.get('general.architecture');
  if (entry?.type === 'string' && isGgufArchitecture(entry.value)) return entry.value;
  const found = entry?.type === 'string' ? `"${entry.value}"` : 'missing';
  throw new UserError(`${file}: general.architecture is ${found}; halfbyte reads llama, qwen2 and qwen3`, {
    advice: 'choose a model of a supported architecture',
  });
}

async function readConfig(
  { metadata, tensors, file }: GgufFiles,
  files: ReadonlyMap<string, ByteSource>,
  signal: AbortSignal | undefined,
): Promise<JsonObject> {
  const beside = files.get('config.json');
  if (beside !== undefined) {
    // What it says about quantization is about weights of another format.
    const config = Object.entries(await readJsonObject(beside, signal));
    return Object.fromEntries(config.filter(([key]) => key !== 'quantization_config'));
  }
  const freqs = tensors.get(ROPE_FREQS);
  return readGgufConfig({
    metadata,
    file,
    hasTensor: (name) => tensors.has(name),
    ...(freqs === undefined ? {} : { ropeFreqs: await readFreqs(freqs, files, signal) }),
  });
}

async function readFreqs(
  { type, name, file, begin, end }: GgufTensorInfo,
  files: ReadonlyMap<string, ByteSource>,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  if (type !== 'F32')
    throw new FormatError(`F32 expected, ${type} found`, { file, tensor: name, offset: begin });
  return viewBytes(await sourceOf(files, file).read(begin, end - begin, signal), Float32Array);
}

function checkArchitecture(architecture: string, config: JsonObject, file: string): void {
  const type = typeof config.model_type === 'string' ? config.model_type : '';
  if (ggufArchitecture(type) === architecture) return;
  throw new FormatError(
    `architecture "${architecture}", but config.json beside it has model_type "${type}"`,
    {
      file,
      advice: 'config.json belongs to another model: move the GGUF file into a folder of its own',
    },
  );
}

/** Tensors by their checkpoint names. FormatError listing those that no decoder of ours has, or whose rows are no heads. */
function nameTensors(
  { tensors, file }: GgufFiles,
  architecture: string,
  config: JsonObject,
): Map<string, GgufCheckpointTensor> {
  const named = new Map<string, GgufCheckpointTensor>();
  const problems: string[] = [];
  const headDim = headDimOf(config);
  for (const info of tensors.values()) {
    if (info.name === ROPE_FREQS) continue;
    const name = checkpointName(info.name);
    const permuted = isPermuted(architecture, info.name);
    if (name === undefined) problems.push(`"${info.name}": no part of a "${architecture}" decoder`);
    else if (isBlockType(info.type) && (info.shape.length !== 2 || !name.endsWith('.weight')))
      problems.push(
        `"${info.name}": ${info.type} blocks of shape [${info.shape.join(', ')}], a matrix expected`,
      );
    else if (permuted && !(headDim >= 2 && headDim % 2 === 0 && info.shape[0] % headDim === 0))
      problems.push(`"${info.name}": ${info.shape[0]} rows are not whole heads of ${headDim}`);
    else {
      const heads = permuted ? { headDim, order: headPermutation(headDim) } : undefined;
      named.set(name, { info, heads });
    }
  }
  if (problems.length === 0) return named;
  throw new FormatError(`tensors that do not fit the model:${listOffenders(problems)}`, {
    file,
    advice: 'the file is damaged, or of a variant of the architecture that halfbyte does not have',
  });
}

function headDimOf({
  head_dim: headDim,
  hidden_size: hidden,
  num_attention_heads: heads,
}: JsonObject): number {
  if (typeof headDim === 'number') return headDim;
  return typeof hidden === 'number' && typeof heads === 'number' ? hidden / heads : NaN;
}

function sourceOf(files: ReadonlyMap<string, ByteSource>, file: string): ByteSource {
  const source = files.get(file);
  if (source === undefined) throw new Bug(`internal: ${file} was there when its header was read`);
  return source;
}

function createReader(
  files: ReadonlyMap<string, ByteSource>,
  blocks: ReadonlyMap<string, BlockTensor>,
): QuantizedReader {
  const find = (module: string): BlockTensor => {
    const found = blocks.get(module);
    if (found === undefined) throw new Bug(`internal: ${module} is not stored quantized`);
    return found;
  };
  const grids = [...blocks]
    .filter(([module]) => module !== EMBEDDING_MODULE && module !== HEAD_MODULE)
    .map(([, { type }]) => GRIDS[type]);
  return {
    format: 'gguf',
    bits: common(grids.map(({ bits }) => bits)),
    groupSize: common(grids.map(({ groupSize }) => groupSize)),
    symmetric: common(grids.map(({ symmetric }) => symmetric)),
    modules: new Set(blocks.keys()),
    packing: new Set([...blocks.values()].map(({ info }) => info.name)),
    shape: (module) => {
      const [outFeatures, inFeatures] = find(module).info.shape;
      return [outFeatures, inFeatures];
    },
    storedBits: (module) => {
      const { begin, end, shape } = find(module).info;
      return ((end - begin) * 8) / product(shape);
    },
    grid: (module) => gridOfType(find(module).type),
    read: (module, signal) => readBlocks(files, find(module), signal),
  };
}

function common<T>(values: readonly T[]): T | null {
  return values.length > 0 && values.every((value) => value === values[0]) ? values[0] : null;
}

interface TypeGrid {
  readonly bits: 4 | 5 | 6 | 8;
  readonly groupSize: 16 | 32;
  readonly symmetric: boolean;
}

const GRIDS: Readonly<Record<BlockType, TypeGrid>> = {
  Q4_0: { bits: 4, groupSize: 32, symmetric: true },
  Q4_1: { bits: 4, groupSize: 32, symmetric: false },
  Q5_0: { bits: 5, groupSize: 32, symmetric: true },
  Q5_1: { bits: 5, groupSize: 32, symmetric: false },
  Q8_0: { bits: 8, groupSize: 32, symmetric: true },
  Q4_K: { bits: 4, groupSize: 32, symmetric: false },
  Q5_K: { bits: 5, groupSize: 32, symmetric: false },
  Q6_K: { bits: 6, groupSize: 16, symmetric: true },
};

/** As far as the type tells: whether a scale is negative only the blocks know. */
function gridOfType(type: BlockType): Grid {
  const { symmetric, bits, groupSize } = GRIDS[type];
  if (type === 'Q4_K' || type === 'Q6_K') return { kind: 'k-quant', type: type === 'Q4_K' ? 'q4_k' : 'q6_k' };
  const affine = { bits, groupSize, symmetric, signed: true, reordered: false };
  return symmetric
    ? { kind: 'affine', ...affine, scaleDType: 'F16' }
    : { kind: 'affine-min', ...affine, scaleDType: type === 'Q5_K' ? 'F32' : 'F16' };
}

/** Window by window of whole rows. Memory: the record and one window. */
async function readBlocks(
  files: ReadonlyMap<string, ByteSource>,
  { info, heads, type }: BlockTensor,
  signal: AbortSignal | undefined,
): Promise<QuantizedLinear> {
  const [outFeatures, inFeatures] = info.shape;
  const { file, begin, name } = info;
  const decoder = createRowDecoder({
    ...{ type, outFeatures, inFeatures, file, tensor: name, offset: begin },
    rowOrder: heads?.order,
  });
  const width = rowBytes(type, inFeatures);
  const rows = Math.max(1, Math.floor(DEFAULT_WINDOW_BYTES / width));
  for (let first = 0; first < outFeatures; first += rows) {
    const count = Math.min(rows, outFeatures - first);
    decoder.decode(first, await sourceOf(files, file).read(begin + first * width, count * width, signal));
  }
  return decoder.record;
}
