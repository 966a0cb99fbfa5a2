/** The decoder on the engine contract: settings, layers, embedding, head, and the runner that streams them. */
export { ARCHITECTURES, findArchitecture } from './architectures/index.js';
export type { Architecture, ArchitectureTraits } from './architectures/architecture.js';
export { parseModelConfig } from './config.js';
export { loadDecoderLayer } from './decoder-layer.js';
export type { EmbeddingTable } from './embedding.js';
export { EMBEDDING_NAME, loadEmbedding } from './embedding.js';
export type { Head } from './head.js';
export { HEAD_NAME, LOGIT_CHUNK_BYTES, loadHead, logitRows } from './head.js';
export type { LoadLayerOptions } from './layer-weights.js';
export { linearNames } from './layer-weights.js';
export { freeLinearWeight, weightTensors } from './linear-weight.js';
export type { MicroBatch } from './micro-batches.js';
export { DEFAULT_BATCH_TOKENS, planMicroBatches } from './micro-batches.js';
export type { RopeFrequencies } from './rope.js';
export { ropeFrequencies, ropeTables, uploadRope } from './rope.js';
export type { HiddenBatch, RunLayersOptions, StreamedModel } from './runner.js';
export { advanceHidden, embedWindows, forwardContext, runLayers } from './runner.js';
export type {
  Block,
  DecoderLayer,
  ForwardContext,
  InputSource,
  LinearGroup,
  LinearSlot,
  ModelConfig,
  RopeConfig,
  WeightSource,
} from './types.js';
