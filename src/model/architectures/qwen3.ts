import type { Architecture } from './architecture.js';
import { readQwenWindows } from './qwen-windows.js';

/** Qwen 3 dense models: an RMS norm on each head of q and k, head size 128 unless named, optional attention biases. */
export const qwen3: Architecture = {
  modelType: 'qwen3',
  defaults: { numKeyValueHeads: 32, headDim: 128, maxPositionEmbeddings: 32768, tieWordEmbeddings: false },
  readTraits(reader, layers) {
    const attentionBias = reader.boolean('attention_bias', false);
    return {
      attentionBias,
      attentionOutBias: attentionBias,
      mlpBias: false,
      qkNorm: true,
      slidingWindows: readQwenWindows(reader, layers),
    };
  },
};
