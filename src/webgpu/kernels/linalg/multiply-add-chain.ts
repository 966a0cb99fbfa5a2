import { assert, Bug } from '../../../core/errors.js';
import { ceilDiv } from '../../../core/dims.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import { elementCount } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';

export function createMultiplyAddChain(context: KernelContext): Pick<LinalgOps, 'multiplyAddChain'> {
  return {
    multiplyAddChain: ({ x, rounds }) => {
      if (rounds % 4 !== 0)
        throw new Bug(`internal: multiplyAddChain of ${rounds} rounds, a multiple of 4 expected`);
      assert(x.dtype === 'f32', `multiplyAddChain of ${x.dtype}`);
      const count = elementCount(x);
      context.dispatch({
        shader: 'linalg/multiply-add-chain',
        params: { count, rounds },
        tensors: [x],
        workgroups: ceilDiv(count, 256),
      });
    },
  };
}
