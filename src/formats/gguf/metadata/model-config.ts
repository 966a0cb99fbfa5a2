/** What GGUF metadata says of a decoder; the names are those of config.json in camel case, as in model/. */
export interface GgufModelConfig {
  /** config.json's model_type. */
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
  readonly rope: GgufRope;
  /** Window per layer; undefined for full attention. */
  readonly slidingWindows: readonly (number | undefined)[];
  readonly attentionOutBias: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
}

export interface GgufRope {
  readonly theta: number;
  readonly rotaryDims: number;
  readonly scaling: GgufRopeScaling;
}

export type GgufRopeScaling =
  | { readonly type: 'default' }
  | { readonly type: 'linear'; readonly factor: number }
  | Llama3Scaling
  | YarnScaling;

export interface Llama3Scaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositions: number;
}

export interface YarnScaling {
  readonly type: 'yarn';
  readonly factor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly originalMaxPositions: number;
  readonly attentionFactor?: number;
  readonly mscale?: number;
  readonly mscaleAllDim?: number;
  readonly truncate: boolean;
}

/** llama.cpp's name of an architecture of ours, by model_type; mistral is llama there. */
const GGUF_ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
};

export type GgufArchitecture = 'llama' | 'qwen2' | 'qwen3';

export function ggufArchitecture(modelType: string): GgufArchitecture | undefined {
  return Object.hasOwn(GGUF_ARCHITECTURES, modelType) ? GGUF_ARCHITECTURES[modelType] : undefined;
}

export function isGgufArchitecture(name: string): name is GgufArchitecture {
  return name === 'llama' || name === 'qwen2' || name === 'qwen3';
}
