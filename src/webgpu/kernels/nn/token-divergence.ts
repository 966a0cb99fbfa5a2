import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** The kernel carries column indices as f32. */
const MAX_VOCAB = 2 ** 24;

/** shaders/nn/token-divergence.wgsl, one workgroup a row. */
export function createTokenDivergence(context: KernelContext): Pick<NnOps, 'tokenDivergence'> {
  const checks = checksFor('tokenDivergence');
  return {
    tokenDivergence: ({ reference, logits, targets, stats }) => {
      const { rows, cols } = logits;
      checks.that(cols <= MAX_VOCAB, `vocabulary of ${cols}, at most ${MAX_VOCAB}`);
      checks.view('reference', reference, rows, cols);
      checks.view('logits', logits, rows, cols);
      checks.vector('targets', targets, rows, 'u32');
      checks.vector('stats', stats, 4 * rows, 'f32');
      context.dispatch({
        shader: 'nn/token-divergence',
        params: {
          rows,
          vocab: cols,
          reference_offset: reference.offset,
          reference_stride: reference.stride,
          logits_offset: logits.offset,
          logits_stride: logits.stride,
          fan: 16,
        },
        tensors: [reference.tensor, logits.tensor, targets, stats],
        workgroups: rows,
      });
    },
  };
}
