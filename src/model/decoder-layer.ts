import { createAttentionBlock } from './attention-block.js';
import type { LoadLayerOptions } from './layer-weights.js';
import { loadLayerWeights } from './layer-weights.js';
import { createMlpBlock } from './mlp-block.js';
import type { DecoderLayer } from './types.js';

/**
 * Loads one decoder layer: x ← x + o(attention(norm(x))), then x ← x + down(silu(gate(norm(x))) · up(norm(x))).
 * Engine memory: the layer's weights, plus what a call of its blocks needs (said there). Errors are the source's.
 */
export async function loadDecoderLayer(options: LoadLayerOptions): Promise<DecoderLayer> {
  const { engine, config, index } = options;
  const { weights, free } = await loadLayerWeights(options);
  return {
    index,
    blocks: [
      createAttentionBlock(engine, config, index, weights),
      createMlpBlock(engine, config, index, weights),
    ],
    free,
  };
}
