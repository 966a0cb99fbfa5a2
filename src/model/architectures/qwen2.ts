import type { Architecture } from './architecture.js';
import { readQwenWindows } from './qwen-windows.js';

/** Qwen 1.5 to 2.5: biases on q, k and v always, nowhere else; sliding windows in the upper layers when asked for. */
export const qwen2: Architecture = {
  modelType: 'qwen2',
  defaults: { numKeyValueHeads: 32, maxPositionEmbeddings: 32768, tieWordEmbeddings: false },
  readTraits(reader, layers) {
    return {
      attentionBias: true,
      attentionOutBias: false,
      mlpBias: false,
      qkNorm: false,
      slidingWindows: readQwenWindows(reader, layers),
    };
  },
};
