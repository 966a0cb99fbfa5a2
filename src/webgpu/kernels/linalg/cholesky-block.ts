import { assert } from '../../../core/errors.js';
import { MAX_BLOCK, type LinalgOps } from '../../../engine/linalg.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

export function createCholeskyBlock(context: KernelContext): Pick<LinalgOps, 'choleskyBlock'> {
  return {
    choleskyBlock: ({ block, failures }) => {
      const n = block.rows;
      assert(n <= MAX_BLOCK, `choleskyBlock: ${n} rows, at most ${MAX_BLOCK}`);
      checkView('choleskyBlock', block, ['f32'], n, n);
      if (n === 0) return;
      context.dispatch({
        shader: 'linalg/cholesky-block',
        params: { n, offset: block.offset, stride: block.stride },
        tensors: [block.tensor, failures],
        workgroups: 1,
      });
    },
  };
}
