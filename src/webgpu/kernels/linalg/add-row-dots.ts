import { assert } from '../../../core/errors.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import { elementCount } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

export function createAddRowDots(context: KernelContext): Pick<LinalgOps, 'addRowDots'> {
  return {
    addRowDots: ({ x, y, to }) => {
      checkView('addRowDots x', x, ['f32']);
      checkView('addRowDots y', y, ['f32'], x.rows, x.cols);
      assert(
        to.dtype === 'f32' && elementCount(to) >= x.rows,
        `addRowDots: ${to.label} has no ${x.rows} f32 elements`,
      );
      context.dispatch({
        shader: 'linalg/add-row-dots',
        flags: context.facts.subgroups ? ['SUBGROUPS'] : [],
        params: {
          rows: x.rows,
          cols: x.cols,
          x_offset: x.offset,
          x_stride: x.stride,
          y_offset: y.offset,
          y_stride: y.stride,
        },
        tensors: [x.tensor, y.tensor, to],
        workgroups: x.rows,
      });
    },
  };
}
