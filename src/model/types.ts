import type { MatrixView, Tensor } from '../engine/tensor.js';
import type { LinearWeight } from '../engine/nn.js';

/** RoPE settings, normalised from config.json's old (rope_theta, rope_scaling) and new (rope_parameters) spelling. */
export interface RopeConfig {
  readonly theta: number;
  readonly rotaryDims: number;
  readonly scaling:
    | { readonly type: 'default' }
    | { readonly type: 'linear'; readonly factor: number }
    | {
        readonly type: 'llama3';
        readonly factor: number;
        readonly lowFreqFactor: number;
        readonly highFreqFactor: number;
        readonly originalMaxPositions: number;
      }
    | {
        readonly type: 'yarn';
        readonly factor: number;
        readonly betaFast: number;
        readonly betaSlow: number;
        readonly originalMaxPositions: number;
        readonly attentionFactor?: number;
        readonly mscale?: number;
        readonly mscaleAllDim?: number;
        readonly truncate: boolean;
      };
}

/** What the decoder needs to know, normalised over architectures; names mirror config.json in camel case. */
export interface ModelConfig {
  /** config.json's model_type, such as "llama". */
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  /** Window per layer; undefined for full attention. */
  readonly slidingWindows: readonly (number | undefined)[];
  readonly tieWordEmbeddings: boolean;
  readonly attentionBias: boolean;
  readonly attentionOutBias: boolean;
  readonly mlpBias: boolean;
  /** RMS norm over each head of q and k before RoPE (qwen3). */
  readonly qkNorm: boolean;
}

/** One linear layer of a decoder. `weight` is replaced when the layer is quantized; whoever replaces frees the old. */
export interface LinearSlot {
  /** Module path in the checkpoint, such as "model.layers.0.self_attn.q_proj". */
  readonly name: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
  weight: LinearWeight;
  readonly bias?: Tensor;
}

/**
 * What makes a group's input, where a factor per input column can move into it without changing the model: the norm before
 * the group, or the linear whose outputs reach it element by element.
 */
export type InputSource =
  | { readonly kind: 'norm'; /** Tensor name. */ readonly name: string; readonly weight: Tensor }
  | { readonly kind: 'linear'; readonly slot: LinearSlot };

/** Linears that share one input, in the order they are quantized. */
export interface LinearGroup {
  readonly linears: readonly LinearSlot[];
  readonly source?: InputSource;
}

/** A micro-batch's fixed facts: `windows` windows of `seqLen` tokens, rows = windows·seqLen, RoPE tables. */
export interface ForwardContext {
  readonly windows: number;
  readonly seqLen: number;
  /** f32 [≥ seqLen, rotaryDims/2]. */
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** A residual block of a decoder layer (attention or MLP): x ← x + f(norm(x)). */
export interface Block {
  readonly groups: readonly LinearGroup[];
  /**
   * Runs the block from its start up to the input of `groups[index]`, leaving x as it is, and gives that input [rows, K]
   * to `use`; the tensor lives only during `use`.
   */
  captureInput(index: number, x: MatrixView, context: ForwardContext, use: (input: MatrixView) => void): void;
  /** x [rows, D] ← x + f(norm(x)), in place. */
  forward(x: MatrixView, context: ForwardContext): void;
}

/** One decoder layer with its weights on an engine. */
export interface DecoderLayer {
  readonly index: number;
  readonly blocks: readonly Block[];
  /** Frees every weight of the layer, quantized or not. */
  free(): void;
}

/**
 * Where a model's weights come from; implemented above model/ (checkpoints, quantized or not), so that model/ knows no
 * file format. Returned tensors belong to the caller.
 */
export interface WeightSource {
  has(name: string): boolean;
  /** A tensor by its full checkpoint name, of the expected shape, in its own dtype (f32, f16, bf16). */
  dense(name: string, shape: readonly number[]): Promise<Tensor>;
  /** A big table [rows, cols] cut into row panels that fit the engine. */
  densePanels(name: string, shape: readonly [number, number]): Promise<Tensor[]>;
  /** The weight of a linear module by its path (without ".weight"): dense, or on a grid where the checkpoint is quantized. */
  linear(module: string, outFeatures: number, inFeatures: number): Promise<LinearWeight>;
}
