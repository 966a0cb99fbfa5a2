import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { createAddTo } from './add-to.js';
import { createAttention } from './attention.js';
import { createEmbed } from './embed.js';
import { createRmsNorm } from './rms-norm.js';
import { createRope } from './rope.js';
import { createSiluMul } from './silu-mul.js';
import { createTokenDivergence } from './token-divergence.js';
import { createTokenLoss } from './token-loss.js';

/** Forward operations of decoder layers; `linear` lives with the matrix products in kernels/linalg. */
export function createNnKernels(context: KernelContext): Omit<NnOps, 'linear'> {
  return {
    ...createEmbed(context),
    ...createRmsNorm(context),
    ...createRope(context),
    ...createAttention(context),
    ...createSiluMul(context),
    ...createAddTo(context),
    ...createTokenLoss(context),
    ...createTokenDivergence(context),
  };
}
