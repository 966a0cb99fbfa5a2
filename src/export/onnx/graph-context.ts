import type { NBitsShape } from '../../formats/onnx/matmul-nbits.js';
import type { OnnxTensor } from '../../formats/onnx/onnx-model.js';
import type { ModelConfig } from '../../model/types.js';
import type { ComputeType, GraphBuilder } from './graph-builder.js';

export const EMBEDDING = 'model.embed_tokens.weight';
export const FINAL_NORM = 'model.norm.weight';
export const HEAD = 'lm_head';
/** RoPE tables [positions, E/2]. */
export const COS_CACHE = 'cos_cache';
export const SIN_CACHE = 'sin_cache';

export interface QuantizedWeight extends NBitsShape {
  readonly symmetric: boolean;
}

/** What the graph must know of the weights. */
export interface GraphWeights {
  /** Initializers under their names. */
  readonly tensors: ReadonlyMap<string, OnnxTensor>;
  /** Linears on a grid, by module path. */
  readonly quantized: ReadonlyMap<string, QuantizedWeight>;
}

/** What the pieces of the graph share. */
export interface GraphContext {
  readonly builder: GraphBuilder;
  readonly config: ModelConfig;
  readonly compute: ComputeType;
  readonly weights: GraphWeights;
}
