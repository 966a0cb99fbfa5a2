/** Plans and writes the folder of an ONNX decoder: the graph, its external data, config.json and genai_config.json. */
import type { CastSource } from '../../core/cast-elements.js';
import { castElements, isCastSource } from '../../core/cast-elements.js';
import { product } from '../../core/dims.js';
import { assert, Bug, FormatError, NumericError, UserError } from '../../core/errors.js';
import type { QuantizedLinear } from '../../core/quantized-linear.js';
import type { ExternalPlan } from '../../formats/onnx/external-data.js';
import { MAX_CHUNK_BYTES, planExternalData } from '../../formats/onnx/external-data.js';
import { encodeNBits } from '../../formats/onnx/matmul-nbits.js';
import { encodeOnnxModel, ONNX_TYPES } from '../../formats/onnx/onnx-model.js';
import { bytesOf, viewBytes } from '../../io/byte-views.js';
import type { JsonObject } from '../../io/json.js';
import type { OutputFolder } from '../../io/output-folder.js';
import { ropeTableRows } from './rope-rows.js';
import type {
  DenseSink,
  ModelItem,
  ModelToWrite,
  ModelWriter,
  PlannedDense,
  PlannedWriter,
} from '../output-format.js';
import type { OnnxFolderFacts } from './config-files.js';
import { genaiConfigText, onnxConfigText, readTokenIds } from './config-files.js';
import { buildDecoderGraph } from './decoder-graph.js';
import type { ExternalWriter } from './external-writer.js';
import { createExternalWriter } from './external-writer.js';
import type { ComputeType } from './graph-builder.js';
import type { QuantizedWeight } from './graph-context.js';
import { COS_CACHE, SIN_CACHE } from './graph-context.js';
import { nbitsNames } from './linear-graph.js';
import { denseType, graphParts, quantizedWeight, ropeCaches, tensorsOf } from './onnx-tensors.js';

/** transformers.js reads so many files of external data. */
const MAX_CHUNKS = 100;
const DIRECTORY = 'onnx';

export interface OnnxFolderOptions {
  readonly dtype: OnnxFolderFacts['dtype'];
  readonly compute: ComputeType;
}

/** Everything decided before the first weight. */
interface FolderPlan {
  readonly model: ModelToWrite;
  readonly compute: ComputeType;
  readonly facts: OnnxFolderFacts;
  readonly external: ExternalPlan;
  readonly quantized: ReadonlyMap<string, QuantizedWeight>;
  /** Parts that the graph reads, by name; others are dropped. */
  readonly written: ReadonlyMap<string, ModelItem>;
  readonly modelBytes: Uint8Array;
  readonly tokenIds: JsonObject;
}

export async function planOnnxFolder(
  model: ModelToWrite,
  { dtype, compute }: OnnxFolderOptions,
): Promise<PlannedWriter> {
  const modelFile = `model_${dtype}.onnx`;
  const { written, dropped } = chooseParts(model);
  const tensors = [...written.values()].flatMap((item) => tensorsOf(item, compute));
  const external = planExternalData([...ropeCaches(model.config, compute), ...tensors], {
    modelFile,
    maxChunkBytes: Math.min(model.maxShardBytes ?? MAX_CHUNK_BYTES, MAX_CHUNK_BYTES),
  });
  if (external.files.length > MAX_CHUNKS)
    throw new UserError(
      `${external.files.length} files of external data are needed; transformers.js reads at most ${MAX_CHUNKS}`,
      { advice: 'allow bigger shards' },
    );
  const quantized = new Map(
    [...written.values()].flatMap((item) =>
      item.kind === 'linear' ? [[item.linear.name, quantizedWeight(item.linear)] as const] : [],
    ),
  );
  const graph = buildDecoderGraph(model.config, compute, {
    tensors: new Map(external.tensors.map((tensor) => [tensor.name, tensor])),
    quantized,
  });
  const modelBytes = encodeOnnxModel({
    producer: 'halfbyte',
    producerVersion: model.toolVersion,
    graph,
    metadata: {},
  });
  const plan: FolderPlan = {
    model,
    compute,
    facts: { dtype, modelFile, chunks: external.files.length },
    external,
    quantized,
    written,
    modelBytes,
    tokenIds: await readTokenIds(model.configJson, model.sideFiles, model.signal),
  };
  const facts = {
    expectedBytes: modelBytes.byteLength + external.files.reduce((total, file) => total + file.bytes, 0),
    bitsPerWeight: bitsPerWeight(plan),
    notes: notesOf(plan, dropped),
  };
  return { ...facts, open: (folder) => Promise.resolve({ ...facts, ...openWriter(plan, folder) }) };
}

/** What the graph reads, and the names of what it does not (position buffers, a second copy of a tied head). */
function chooseParts(model: ModelToWrite): { written: Map<string, ModelItem>; dropped: string[] } {
  const { required, optional } = graphParts(model.config);
  const wanted = new Set([...required, ...required.map((name) => `${name}.weight`), ...optional]);
  const written = new Map<string, ModelItem>();
  const dropped: string[] = [];
  for (const item of model.items) {
    const name = item.kind === 'linear' ? item.linear.name : item.tensor.name;
    if (wanted.has(name)) written.set(name, item);
    else if (item.kind === 'dense') dropped.push(name);
    else throw new UserError(`${name} is quantized, but no part of the decoder`, { advice: 'leave it out' });
  }
  return { written, dropped };
}

function bitsPerWeight({ model, compute, written }: FolderPlan): number {
  const skipped = new Set(model.skipped.map((module) => `${module}.weight`));
  let bits = 0;
  let weights = 0;
  for (const [name, item] of written) {
    if (item.kind === 'dense' && !skipped.has(name)) continue;
    weights +=
      item.kind === 'linear' ? item.linear.outFeatures * item.linear.inFeatures : product(item.tensor.shape);
    for (const { type, dims } of tensorsOf(item, compute)) bits += product(dims) * ONNX_TYPES[type].bytes * 8;
  }
  return weights === 0 ? 16 : bits / weights;
}

function notesOf({ written, compute, external }: FolderPlan, dropped: readonly string[]): string[] {
  const dense = [...written.values()].flatMap((item) => (item.kind === 'dense' ? [item.tensor] : []));
  const rounded = dense.some((tensor) => tensor.dtype === 'BF16' && denseType(tensor, compute) === 'F16');
  const oversized = external.files.some((file) => file.bytes > MAX_CHUNK_BYTES);
  return [
    ...(rounded
      ? ['bfloat16 tensors are stored as float16: values below 6e-5 in magnitude lose digits']
      : []),
    ...(dropped.length === 0 ? [] : [`not part of the decoder and left out: ${dropped.join(', ')}`]),
    ...(oversized ? ['a tensor is larger than 2 GB: browsers cannot load it'] : []),
  ];
}

function openWriter(
  plan: FolderPlan,
  folder: OutputFolder,
): Pick<ModelWriter, 'dense' | 'linear' | 'finish' | 'abort'> {
  const { model, facts, modelBytes } = plan;
  const writer = createExternalWriter(plan.external, folder, DIRECTORY);
  let started = false;
  const start = async (): Promise<void> => {
    if (started) return;
    started = true;
    await writeRope(plan, writer);
  };
  return {
    dense: async (name) => {
      await start();
      const item = plan.written.get(name);
      if (item === undefined) return { append: () => Promise.resolve(), end: () => Promise.resolve() };
      if (item.kind !== 'dense') throw new Bug(`internal: ${name} is planned on a grid`);
      return denseSink(item.tensor, plan.compute, writer);
    },
    linear: async (name, record) => {
      await start();
      const weight = plan.quantized.get(name);
      if (weight === undefined) throw new Bug(`internal: ${name} is not planned on a grid`);
      await writeLinear(plan, writer, { name, weight, record });
    },
    finish: async () => {
      await start();
      await writer.finish();
      const sink = await folder.create(`${DIRECTORY}/${facts.modelFile}`);
      await sink.append(modelBytes);
      await sink.seal();
      await folder.writeText('config.json', onnxConfigText(model.configText, model.configJson, facts));
      await folder.writeText('genai_config.json', genaiConfigText(model.config, plan.tokenIds, facts));
    },
    abort: () => writer.abort(),
  };
}

/** cos and sin of all positions, some rows at a time. */
async function writeRope({ model, compute }: FolderPlan, writer: ExternalWriter): Promise<void> {
  for (const [name, part] of [
    [COS_CACHE, 'cos'],
    [SIN_CACHE, 'sin'],
  ] as const)
    for (const rows of ropeTableRows(model.config, part)) await writer.append(name, reals(rows, compute));
}

/** float32 numbers as bytes of the type in which the graph computes. */
function reals(values: Float32Array, compute: ComputeType): Uint8Array {
  return castElements(bytesOf(values), 'F32', compute);
}

interface LinearJob {
  readonly name: string;
  readonly weight: QuantizedWeight;
  readonly record: QuantizedLinear;
}

async function writeLinear(
  plan: FolderPlan,
  writer: ExternalWriter,
  { name, weight, record }: LinearJob,
): Promise<void> {
  assert(record.kind === 'affine', `${name}: a ${record.kind} record for MatMulNBits`);
  if (record.kind !== 'affine') return;
  const { scales, zeros, weight: codes } = encodeNBits(record, weight.blockSize);
  assert(
    !weight.symmetric || record.zeros.every((zero) => zero === 2 ** (weight.bits - 1)),
    `${name}: planned symmetric, but zero points differ`,
  );
  const names = nbitsNames(name, weight.bits);
  await writer.append(names.weight, codes);
  await writer.append(names.scales, reals(scales, plan.compute));
  if (!weight.symmetric) await writer.append(names.zeros, zeros);
}

function denseSink(
  { name, dtype, shape }: PlannedDense,
  compute: ComputeType,
  writer: ExternalWriter,
): DenseSink {
  const target = denseType({ dtype, shape }, compute);
  if (!isCastSource(dtype))
    throw new FormatError(`a floating-point dtype expected, ${dtype} found`, {
      file: 'checkpoint',
      tensor: name,
    });
  const source: CastSource = dtype;
  let done = 0;
  return {
    append: async (bytes) => {
      const converted = castElements(bytes, source, target);
      if (target === 'F16' && source !== 'F16') checkHalf(converted, name, done);
      done += converted.byteLength / ONNX_TYPES[target].bytes;
      await writer.append(name, converted);
    },
    end: () => Promise.resolve(),
  };
}

/** float16 ends at 65504; a weight beyond it would silently become infinite. */
function checkHalf(bytes: Uint8Array, name: string, first: number): void {
  const halves = viewBytes(bytes, Uint16Array);
  let index = 0;
  while (index < halves.length && (halves[index] & 0x7c00) !== 0x7c00) index++;
  if (index === halves.length) return;
  throw new NumericError('a value is not finite in float16, which ends at 65504', {
    layer: name,
    step: 'convert to float16',
    index: first + index,
    advice: 'choose a format that keeps bfloat16: gptq, mlx, hf',
  });
}
