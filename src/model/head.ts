import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { asMatrix, colRange } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { EMBEDDING_NAME } from './embedding.js';
import { freeLinearWeight } from './linear-weight.js';
import type { ModelConfig, WeightSource } from './types.js';

/** Module path of a separate language-model head. */
export const HEAD_NAME = 'lm_head';

/** Default bound on one chunk of logits: 110 rows of a 152k vocabulary, 8192 rows of a 2k one. */
export const LOGIT_CHUNK_BYTES = 64 * 1024 * 1024;
const F32_BYTES = 4;

/** The final norm and the language-model head on an engine. */
export interface Head {
  /** f32 [rows, V] of final hidden states [rows, D]; the caller frees it and bounds the rows (logitRows). */
  logits(hidden: MatrixView): Tensor;
  free(): void;
}

/**
 * Loads norm and head: the embedding table again when tied, lm_head otherwise, dense in row panels or on a grid where the
 * checkpoint quantized it. Engine memory: the head, and during a call F·rows·(D + V).
 */
export async function loadHead(options: {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly source: WeightSource;
}): Promise<Head> {
  const { engine, config, source } = options;
  const norm = await source.dense('model.norm.weight', [config.hiddenSize]);
  const panels = await loadPanels(config, source).catch((error: unknown) => {
    engine.free(norm);
    throw error;
  });
  return {
    logits(hidden) {
      const normed = engine.create([hidden.rows, config.hiddenSize], 'f32', 'final norm');
      engine.rmsNorm({ x: hidden, weight: norm, eps: config.rmsNormEps, out: asMatrix(normed) });
      const logits = engine.create([hidden.rows, config.vocabSize], 'f32', 'logits');
      let start = 0;
      for (const weight of panels) {
        const rows = panelRows(weight);
        engine.linear({ x: asMatrix(normed), weight, out: colRange(asMatrix(logits), start, rows) });
        start += rows;
      }
      engine.free(normed);
      return logits;
    },
    free() {
      engine.free(norm);
      for (const weight of panels) freeLinearWeight(engine, weight);
    },
  };
}

/** Rows of logits that fit `maxBytes` and the engine's largest tensor; at least 1. */
export function logitRows(engine: Engine, config: ModelConfig, maxBytes = LOGIT_CHUNK_BYTES): number {
  const bytes = Math.min(maxBytes, engine.maxTensorBytes);
  return Math.max(1, Math.floor(bytes / (config.vocabSize * F32_BYTES)));
}

async function loadPanels(config: ModelConfig, source: WeightSource): Promise<LinearWeight[]> {
  const shape = [config.vocabSize, config.hiddenSize] as const;
  const name = config.tieWordEmbeddings ? EMBEDDING_NAME : `${HEAD_NAME}.weight`;
  if (!config.tieWordEmbeddings && !source.has(name)) return [await source.linear(HEAD_NAME, ...shape)];
  const panels = await source.densePanels(name, shape);
  return panels.map((tensor) => ({ kind: 'dense', tensor }));
}

/** Rows of V that a panel covers. */
function panelRows(weight: LinearWeight): number {
  return weight.kind === 'dense' ? weight.tensor.shape[0] : weight.outFeatures;
}
