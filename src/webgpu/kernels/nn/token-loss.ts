import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** shaders/nn/token-loss.wgsl, one workgroup a row. */
export function createTokenLoss(context: KernelContext): Pick<NnOps, 'tokenLoss'> {
  const checks = checksFor('tokenLoss');
  const flags = context.facts.subgroups ? ['SUBGROUPS'] : [];
  return {
    tokenLoss: ({ logits, targets, losses }) => {
      const { rows, cols } = logits;
      checks.view('logits', logits, rows, cols);
      checks.vector('targets', targets, rows, 'u32');
      checks.vector('losses', losses, rows, 'f32');
      context.dispatch({
        shader: 'nn/token-loss',
        flags,
        params: { rows, vocab: cols, logits_offset: logits.offset, logits_stride: logits.stride },
        tensors: [logits.tensor, targets, losses],
        workgroups: rows,
      });
    },
  };
}
