import type {
  OnnxAttribute,
  OnnxGraph,
  OnnxNode,
  OnnxTensor,
  OnnxType,
} from '../../formats/onnx/onnx-model.js';
import { MICROSOFT_DOMAIN } from '../../formats/onnx/onnx-model.js';

export interface NodeSpec {
  readonly inputs: readonly string[];
  /** How many outputs, or which of them are wanted ("" leaves one out). Default: one. */
  readonly outputs?: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  readonly microsoft?: boolean;
}

/** Collects nodes and small constants; value names follow node names, as exporters write them. */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  private readonly widened = new Map<string, string>();
  private readonly constants = new Map<string, OnnxTensor>();

  /** Adds a node called `path/opType`; resolves to the name of its first output. */
  add(path: string, opType: string, spec: NodeSpec): string {
    const name = `${path}/${opType}`;
    const outputs = spec.outputs ?? [`${name}/output_0`];
    this.nodes.push({
      name,
      opType,
      domain: spec.microsoft === true ? MICROSOFT_DOMAIN : '',
      inputs: spec.inputs,
      outputs,
      attributes: spec.attributes ?? {},
    });
    return outputs[0];
  }

  /** An int64 constant, one per content: a scalar, or a vector. */
  int64(values: number | readonly number[]): string {
    const list = typeof values === 'number' ? [values] : values;
    const dims = typeof values === 'number' ? [] : [list.length];
    const name = `/constants/int64/${dims.length === 0 ? 'scalar' : 'vector'}/${list.join('_')}`;
    const bytes = new Uint8Array(BigInt64Array.from(list, BigInt).buffer);
    this.constants.set(name, { name, type: 'I64', dims, data: { kind: 'inline', bytes } });
    return name;
  }

  cast(path: string, input: string, to: OnnxTypeCode): string {
    return this.add(path, 'Cast', { inputs: [input], attributes: { to: { int: to.code } } });
  }

  /** An initializer in the type of the computation; runtimes widen it once, when they load the graph. */
  widen(weight: string, to: OnnxTypeCode): string {
    const known = this.widened.get(weight);
    if (known !== undefined) return known;
    const name = this.cast(`/${weight}`, weight, to);
    this.widened.set(weight, name);
    return name;
  }

  graph(parts: Omit<OnnxGraph, 'nodes'>): OnnxGraph {
    return {
      ...parts,
      nodes: this.nodes,
      initializers: [...parts.initializers, ...this.constants.values()],
    };
  }
}

export interface OnnxTypeCode {
  readonly code: number;
}

/** The two types in which a decoder computes. */
export type ComputeType = Extract<OnnxType, 'F32' | 'F16'>;
