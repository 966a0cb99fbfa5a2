/**
 * The parts of ONNX's onnx.proto that a decoder needs, as plain records, and their encoding. Weights lie in files beside
 * the model ("external data"); only small constants are stored inside.
 */
import { product } from '../../core/dims.js';
import { assert } from '../../core/errors.js';
import { MessageWriter } from './message-writer.js';

/** TensorProto.DataType: numbers of the types used here, with their bytes per element. */
export const ONNX_TYPES = {
  F32: { code: 1, bytes: 4 },
  U8: { code: 2, bytes: 1 },
  I8: { code: 3, bytes: 1 },
  I32: { code: 6, bytes: 4 },
  I64: { code: 7, bytes: 8 },
  BOOL: { code: 9, bytes: 1 },
  F16: { code: 10, bytes: 2 },
  F64: { code: 11, bytes: 8 },
  BF16: { code: 16, bytes: 2 },
} as const;

export type OnnxType = keyof typeof ONNX_TYPES;

/** Where a tensor's bytes are. */
export type OnnxData =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'external';
      /** File name relative to the folder of the .onnx file. */
      readonly location: string;
      readonly offset: number;
      readonly length: number;
    };

export interface OnnxTensor {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly data: OnnxData;
}

export type OnnxAttribute = { readonly int: number } | { readonly float: number };

export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** "" for ONNX's own operators. */
  readonly domain: string;
  /** "" stands for an optional input or output left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** An input or output of the graph; a dimension is a number or a symbol. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly (number | string)[];
}

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

export interface OnnxModel {
  readonly producer: string;
  readonly producerVersion: string;
  readonly graph: OnnxGraph;
  /** metadata_props. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The file format version of 2022 and the operator set of the same time: what every runtime of today reads. */
const IR_VERSION = 8;
const OPSET = 17;
export const MICROSOFT_DOMAIN = 'com.microsoft';

export function encodeOnnxModel(model: OnnxModel): Uint8Array {
  const writer = new MessageWriter()
    .integer(1, IR_VERSION)
    .text(2, model.producer)
    .text(3, model.producerVersion)
    .message(7, encodeGraph(model.graph))
    .message(8, new MessageWriter().text(1, '').integer(2, OPSET))
    .message(8, new MessageWriter().text(1, MICROSOFT_DOMAIN).integer(2, 1));
  for (const [key, value] of Object.entries(model.metadata)) writer.message(14, entry(key, value));
  return writer.finish();
}

function entry(key: string, value: string): MessageWriter {
  return new MessageWriter().text(1, key).text(2, value);
}

function encodeGraph(graph: OnnxGraph): MessageWriter {
  const writer = new MessageWriter();
  for (const node of graph.nodes) writer.message(1, encodeNode(node));
  writer.text(2, graph.name);
  for (const tensor of graph.initializers) writer.message(5, encodeTensor(tensor));
  for (const value of graph.inputs) writer.message(11, encodeValue(value));
  for (const value of graph.outputs) writer.message(12, encodeValue(value));
  return writer;
}

function encodeNode(node: OnnxNode): MessageWriter {
  const writer = new MessageWriter();
  for (const input of node.inputs) writer.text(1, input);
  for (const output of node.outputs) writer.text(2, output);
  writer.text(3, node.name).text(4, node.opType);
  for (const [name, attribute] of Object.entries(node.attributes)) {
    const encoded = new MessageWriter().text(1, name);
    if ('int' in attribute) encoded.integer(3, attribute.int).integer(20, 2);
    else encoded.float(2, attribute.float).integer(20, 1);
    writer.message(5, encoded);
  }
  return writer.text(7, node.domain);
}

function encodeTensor({ name, type, dims, data }: OnnxTensor): MessageWriter {
  const length = data.kind === 'inline' ? data.bytes.byteLength : data.length;
  assert(
    length === product(dims) * ONNX_TYPES[type].bytes,
    `${name}: ${length} bytes for [${dims.join()}] ${type}`,
  );
  const writer = new MessageWriter();
  for (const dim of dims) writer.integer(1, dim);
  writer.integer(2, ONNX_TYPES[type].code).text(8, name);
  if (data.kind === 'inline') return writer.bytes(9, data.bytes);
  return writer
    .message(13, entry('location', data.location))
    .message(13, entry('offset', String(data.offset)))
    .message(13, entry('length', String(data.length)))
    .integer(14, 1);
}

function encodeValue({ name, type, dims }: OnnxValue): MessageWriter {
  const shape = new MessageWriter();
  for (const dim of dims)
    shape.message(
      1,
      typeof dim === 'number' ? new MessageWriter().integer(1, dim) : new MessageWriter().text(2, dim),
    );
  const tensor = new MessageWriter().integer(1, ONNX_TYPES[type].code).message(2, shape);
  return new MessageWriter().text(1, name).message(2, new MessageWriter().message(1, tensor));
}
