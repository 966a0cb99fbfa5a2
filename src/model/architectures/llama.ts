import type { Architecture } from './architecture.js';
import { uniformWindows } from './architecture.js';

/** Llama 1 to 3.x and the many models that reuse its configuration: optional biases, full attention. */
export const llama: Architecture = {
  modelType: 'llama',
  defaults: { maxPositionEmbeddings: 2048, tieWordEmbeddings: false },
  readTraits(reader, layers) {
    const attentionBias = reader.boolean('attention_bias', false);
    return {
      attentionBias,
      attentionOutBias: attentionBias,
      mlpBias: reader.boolean('mlp_bias', false),
      qkNorm: false,
      slidingWindows: uniformWindows(layers, undefined),
    };
  },
};
