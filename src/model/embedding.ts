import { UserError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { Tensor } from '../engine/tensor.js';
import type { ModelConfig, WeightSource } from './types.js';

/** Checkpoint name of the token embeddings, and of a tied head. */
export const EMBEDDING_NAME = 'model.embed_tokens.weight';

/** The embedding table on an engine, cut into row panels. */
export interface EmbeddingTable {
  /** f32 [n, D] of token ids < V; the caller frees it. UserError lists ids that the table does not have. */
  embed(tokens: Uint32Array): Tensor;
  free(): void;
}

/** Engine memory: the whole table, V·D in the checkpoint's dtype. */
export async function loadEmbedding(options: {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly source: WeightSource;
}): Promise<EmbeddingTable> {
  const { engine, config, source } = options;
  const panels = await source.densePanels(EMBEDDING_NAME, [config.vocabSize, config.hiddenSize]);
  return {
    embed(tokens) {
      checkTokens(tokens, config.vocabSize);
      const ids = engine.upload(tokens, [tokens.length], 'u32', 'token ids');
      const out = engine.create([tokens.length, config.hiddenSize], 'f32', 'embeddings');
      engine.embed({ tokens: ids, panels, out });
      engine.free(ids);
      return out;
    },
    free() {
      engine.free(...panels);
    },
  };
}

/** Token ids beyond the vocabulary mean that tokenizer and model do not belong together. */
function checkTokens(tokens: Uint32Array, vocabSize: number): void {
  const offenders = [...new Set(tokens.filter((token) => token >= vocabSize))];
  if (offenders.length === 0) return;
  throw new UserError(
    `token ids ${offenders.slice(0, 20).join(', ')}${offenders.length > 20 ? ', …' : ''} are beyond the model's vocabulary of ${vocabSize}`,
    { advice: 'use the tokenizer that belongs to this model' },
  );
}
