/**
 * Reads what an .onnx file says about its weights: the nodes and, of each initializer, type, shape and place. Weights are
 * not read, wherever they lie. Memory: the nodes, names and shapes.
 */
import { product } from '../../core/dims.js';
import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { Field, Piece } from './message-reader.js';
import {
  fieldIntegers,
  fieldText,
  loadField,
  parseFields,
  requireCounted,
  walkFields,
} from './message-reader.js';
import type { OnnxType } from './onnx-model.js';
import { ONNX_TYPES } from './onnx-model.js';
import { placeExternal } from './place-external.js';

/** An initializer and where its bytes lie. */
export interface StoredTensor {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  /** Name of the file among the model's files. */
  readonly file: string;
  readonly begin: number;
  readonly end: number;
}

export interface StoredNode {
  readonly name: string;
  readonly opType: string;
  readonly inputs: readonly string[];
  /** Integer attributes; others are left out. */
  readonly integers: ReadonlyMap<string, number>;
}

export interface StoredGraph {
  readonly nodes: readonly StoredNode[];
  /** By name; constants kept in typed fields instead of bytes are left out. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Largest message other than an initializer that is taken into memory; sub-graphs of merged decoders stay below. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
/** Most bytes of names, shapes and places of one initializer. */
const MAX_TENSOR_HEAD_BYTES = 1024 * 1024;
const MAX_DIMS = 16;

/**
 * Reads `file` among `files`, whose external data must be among them too. FormatError, naming file, tensor and offset, for
 * damaged messages, unknown types, lengths that disagree with shapes and places outside their files; all tensors at once.
 */
export async function readOnnxModel(
  files: ReadonlyMap<string, ByteSource>,
  file: string,
  signal?: AbortSignal,
): Promise<StoredGraph> {
  const source = files.get(file);
  if (source === undefined) throw new FormatError('the file is missing', { file });
  const context: Context = { files, file, source, signal };
  let graph: StoredGraph | undefined;
  for await (const field of walkFields(source, { begin: 0, end: source.size }, signal)) {
    if (field.number !== 7) continue;
    requireCounted(field, source.name, 'the graph');
    graph = await readGraph(context, field);
  }
  if (graph !== undefined) return graph;
  throw new FormatError('the model has no graph', {
    file: source.name,
    advice: 'the file is no ONNX model, or damaged: fetch or make it again',
  });
}

interface Context {
  readonly files: ReadonlyMap<string, ByteSource>;
  readonly file: string;
  readonly source: ByteSource;
  readonly signal: AbortSignal | undefined;
}

async function readGraph(context: Context, span: Field): Promise<StoredGraph> {
  const { source, signal } = context;
  const nodes: StoredNode[] = [];
  const tensors = new Map<string, StoredTensor>();
  const problems: string[] = [];
  let firstProblem: FormatError | undefined;
  for await (const field of walkFields(source, span, signal)) {
    if (field.number === 1) {
      const piece = await loadField(source, field, { maxBytes: MAX_MESSAGE_BYTES, what: 'a node', signal });
      nodes.push(readNode(piece));
    } else if (field.number === 5) {
      requireCounted(field, source.name, 'an initializer');
      const read = await readTensor(context, field).catch(asFormatError);
      if (read instanceof FormatError) {
        firstProblem ??= read;
        problems.push(read.message);
      } else if (read !== undefined) {
        if (tensors.has(read.name)) problems.push(`tensor "${read.name}": the name appears twice`);
        tensors.set(read.name, read);
      }
    }
  }
  if (problems.length > 0)
    throw new FormatError(`tensors that cannot be read:${listOffenders(problems)}`, {
      file: source.name,
      ...(firstProblem?.tensor === undefined ? {} : { tensor: firstProblem.tensor }),
      ...(firstProblem?.offset === undefined ? {} : { offset: firstProblem.offset }),
      advice: firstProblem?.advice ?? 'fetch or make the model again',
      cause: firstProblem,
    });
  return { nodes, tensors };
}

/** FormatErrors are collected; whatever else went wrong goes on. */
function asFormatError(error: unknown): FormatError {
  if (error instanceof FormatError) return error;
  throw error;
}

function readNode(piece: Piece): StoredNode {
  let name = '';
  let opType = '';
  const inputs: string[] = [];
  const integers = new Map<string, number>();
  for (const field of parseFields(piece)) {
    if (field.number === 1) inputs.push(fieldText(field, piece.file, 'a node input'));
    else if (field.number === 3) name = fieldText(field, piece.file, 'a node name');
    else if (field.number === 4) opType = fieldText(field, piece.file, 'an operator name');
    else if (field.number === 5) {
      requireCounted(field, piece.file, 'an attribute');
      readInteger({ file: piece.file, bytes: field.bytes, offset: field.begin }, integers);
    }
  }
  return { name, opType, inputs, integers };
}

function readInteger(piece: Piece, integers: Map<string, number>): void {
  let name = '';
  let value: number | undefined;
  for (const field of parseFields(piece)) {
    if (field.number === 1) name = fieldText(field, piece.file, 'an attribute name');
    else if (field.number === 3 && field.wire === 0) value = field.value;
  }
  if (value !== undefined) integers.set(name, value);
}

/** What TensorProto says, weights stepped over. */
interface TensorHead {
  name: string;
  type: number;
  readonly dims: number[];
  /** raw_data. */
  raw: Field | undefined;
  external: boolean;
  readonly entries: Map<string, string>;
}

async function readTensor(context: Context, span: Field): Promise<StoredTensor | undefined> {
  const { source, file } = context;
  const head = await readTensorHead(context, span);
  const { name, dims } = head;
  const fail = (message: string): never => {
    throw new FormatError(message, { file: source.name, tensor: name, offset: span.begin });
  };
  if (!dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0) || dims.length > MAX_DIMS)
    return fail(`shape [${dims.slice(0, MAX_DIMS).join(', ')}]`);
  const type = typeOf(head.type);
  if (type === undefined) return fail(`data type ${head.type} is not one halfbyte reads`);
  const bytes = product(dims) * ONNX_TYPES[type].bytes;
  if (!Number.isSafeInteger(bytes)) return fail(`shape [${dims.join(', ')}] is too large`);
  const expected = { name, type, dims };
  if (head.external) {
    const entry = { tensor: name, modelFile: file, at: span.begin, entries: head.entries, bytes };
    const place = placeExternal(context.files, entry);
    return { ...expected, ...place };
  }
  if (head.raw === undefined) return undefined;
  const { begin, end } = head.raw;
  if (end - begin !== bytes)
    return fail(`${bytes} bytes expected of [${dims.join(', ')}] ${type}, ${end - begin} found`);
  return { ...expected, file, begin, end };
}

async function readTensorHead({ source, signal }: Context, span: Field): Promise<TensorHead> {
  const head: TensorHead = {
    name: '',
    type: 0,
    dims: [],
    raw: undefined,
    external: false,
    entries: new Map(),
  };
  let budget = MAX_TENSOR_HEAD_BYTES;
  for await (const field of walkFields(source, span, signal)) {
    if (field.number === 9) {
      requireCounted(field, source.name, 'raw data');
      head.raw = field;
    } else if (field.number === 2) head.type = field.value;
    else if (field.number === 14) head.external = field.value === 1;
    else if ([1, 8, 13].includes(field.number)) {
      const piece = await loadSmall(source, field, { budget, signal });
      budget -= piece.bytes.byteLength;
      const loaded = { ...field, bytes: piece.bytes };
      if (field.number === 1) head.dims.push(...fieldIntegers(loaded, source.name));
      else if (field.number === 8) head.name = fieldText(loaded, source.name, 'a tensor name');
      else readEntry(piece, head.entries);
    }
  }
  return head;
}

async function loadSmall(
  source: ByteSource,
  field: Field,
  { budget, signal }: { readonly budget: number; readonly signal: AbortSignal | undefined },
): Promise<Piece> {
  if (field.wire === 0) return { file: source.name, bytes: new Uint8Array(0), offset: field.begin };
  return loadField(source, field, { maxBytes: budget, what: 'the head of a tensor', signal });
}

function readEntry(piece: Piece, entries: Map<string, string>): void {
  let key = '';
  let value = '';
  for (const field of parseFields(piece)) {
    if (field.number === 1) key = fieldText(field, piece.file, 'a key of external data');
    else if (field.number === 2) value = fieldText(field, piece.file, 'a value of external data');
  }
  entries.set(key, value);
}

function typeOf(code: number): OnnxType | undefined {
  const found = Object.entries(ONNX_TYPES).find(([, type]) => type.code === code);
  return found === undefined ? undefined : (found[0] as OnnxType);
}
