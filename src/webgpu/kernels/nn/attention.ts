import { ceilDiv } from '../../../core/dims.js';
import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** Queries of one workgroup of shaders/nn/attention.wgsl. */
const TILE_QUERIES = 32;
const MAX_HEAD_DIM = 256;

/** shaders/nn/attention.wgsl, one workgroup for 32 queries of one head of one window. */
export function createAttention(context: KernelContext): Pick<NnOps, 'attention'> {
  const checks = checksFor('attention');
  return {
    attention: ({ q, k, v, out, seqLen, heads, kvHeads, headDim, scale, slidingWindow }) => {
      const rows = q.rows;
      checks.that(seqLen > 0 && rows % seqLen === 0, `${rows} rows are not whole windows of ${seqLen}`);
      checks.that(heads % kvHeads === 0, `${heads} heads are not a multiple of ${kvHeads} key heads`);
      checks.that(headDim <= MAX_HEAD_DIM, `head size ${headDim}, at most ${MAX_HEAD_DIM}`);
      checks.that(slidingWindow === undefined || slidingWindow >= 1, `sliding window ${slidingWindow}`);
      checks.view('q', q, rows, heads * headDim);
      checks.view('k', k, rows, kvHeads * headDim);
      checks.view('v', v, rows, kvHeads * headDim);
      checks.view('out', out, rows, heads * headDim);
      const workgroups = (rows / seqLen) * heads * ceilDiv(seqLen, TILE_QUERIES);
      context.dispatch({
        shader: 'nn/attention',
        params: {
          seq_len: seqLen,
          heads,
          heads_per_kv: heads / kvHeads,
          head_dim: headDim,
          window: Math.min(slidingWindow ?? seqLen, seqLen),
          workgroups,
          scale_log2e: scale * Math.LOG2E,
          q_offset: q.offset,
          q_stride: q.stride,
          k_offset: k.offset,
          k_stride: k.stride,
          v_offset: v.offset,
          v_stride: v.stride,
          out_offset: out.offset,
          out_stride: out.stride,
        },
        tensors: [q.tensor, k.tensor, v.tensor, out.tensor],
        workgroups,
      });
    },
  };
}
