import type { ConfigReader } from '../config-reader.js';
import type { ModelConfig } from '../types.js';

/**
 * What sets one decoder architecture apart from the next. Everything they share (sizes, RoPE, the refusal of features
 * that no decoder of this family has here) is read in ../config.ts.
 *
 * To add an architecture whose layer is "norm, attention, add; norm, gated MLP, add" with Llama's tensor names:
 * 1. write `<model_type>.ts` here, from the Hugging Face configuration class (defaults) and modelling file (biases, norms,
 *    windows), and list it in `index.ts`;
 * 2. add a tiny random checkpoint with recorded logits to the fixtures script and its name to
 *    test/model/logits.test.ts;
 * 3. only where the layer itself differs (another activation, norm or residual), teach ../decoder-layer.ts a new field of
 *    ModelConfig.
 */
export interface Architecture {
  /** config.json's model_type. */
  readonly modelType: string;
  /** Defaults of the Hugging Face configuration class for keys that a config.json may leave out. */
  readonly defaults: {
    /** Undefined: as many as attention heads. */
    readonly numKeyValueHeads?: number;
    /** Undefined: hidden_size / num_attention_heads. */
    readonly headDim?: number;
    readonly maxPositionEmbeddings: number;
    readonly tieWordEmbeddings: boolean;
  };
  /** Reads the keys that only this architecture has. `layers` is num_hidden_layers. */
  readTraits(reader: ConfigReader, layers: number): ArchitectureTraits;
}

export type ArchitectureTraits = Pick<
  ModelConfig,
  'slidingWindows' | 'attentionBias' | 'attentionOutBias' | 'mlpBias' | 'qkNorm'
>;

/** The same window, or none, in every layer. */
export function uniformWindows(layers: number, window: number | undefined): (number | undefined)[] {
  return Array.from({ length: layers }, () => window);
}
