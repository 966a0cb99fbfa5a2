import type { Architecture } from './architecture.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

/** Every architecture that halfbyte runs; architecture.ts says how to add one. */
export const ARCHITECTURES: readonly Architecture[] = [llama, mistral, qwen2, qwen3];

export function findArchitecture(modelType: string): Architecture | undefined {
  return ARCHITECTURES.find((architecture) => architecture.modelType === modelType);
}
