import { ceilDiv } from '../../../core/dims.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

export function createCopy(context: KernelContext): Pick<LinalgOps, 'copy'> {
  return {
    copy: ({ from, to }) => {
      checkView('copy from', from, ['f32', 'f16', 'bf16'], to.rows, to.cols);
      checkView('copy to', to, ['f32']);
      const inPlace = from.tensor === to.tensor;
      const { dtype } = from.tensor;
      context.dispatch({
        shader: 'tensor/copy',
        flags: [
          ...(inPlace ? ['IN_PLACE'] : []),
          ...(dtype === 'f32' ? [] : ['HALF']),
          ...(dtype === 'bf16' ? ['BF16'] : []),
        ],
        params: {
          rows: to.rows,
          cols: to.cols,
          from_offset: from.offset,
          from_stride: from.stride,
          to_offset: to.offset,
          to_stride: to.stride,
        },
        tensors: inPlace ? [to.tensor] : [from.tensor, to.tensor],
        workgroups: ceilDiv(to.rows * to.cols, 256),
      });
    },
  };
}
