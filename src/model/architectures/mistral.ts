import type { Architecture } from './architecture.js';
import { uniformWindows } from './architecture.js';

/**
 * Mistral 7B, Nemo and kin: no biases; one sliding window for all layers. A config.json that does not name
 * `sliding_window` means 4096 (the first Mistral 7B), null means full attention.
 */
export const mistral: Architecture = {
  modelType: 'mistral',
  defaults: { numKeyValueHeads: 8, maxPositionEmbeddings: 4096 * 32, tieWordEmbeddings: false },
  readTraits(reader, layers) {
    const window =
      reader.raw('sliding_window') === null ? undefined : reader.positiveInt('sliding_window', 4096);
    return {
      attentionBias: false,
      attentionOutBias: false,
      mlpBias: false,
      qkNorm: false,
      slidingWindows: uniformWindows(layers, window),
    };
  },
};
