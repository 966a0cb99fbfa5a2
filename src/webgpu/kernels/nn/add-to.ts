import { ceilDiv } from '../../../core/dims.js';
import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** shaders/nn/add-to.wgsl, one lane an element. */
export function createAddTo(context: KernelContext): Pick<NnOps, 'addTo'> {
  const checks = checksFor('addTo');
  return {
    addTo: ({ x, y }) => {
      const { rows, cols } = x;
      checks.view('x', x, rows, cols);
      checks.view('y', y, rows, cols);
      const oneTensor = x.tensor === y.tensor;
      context.dispatch({
        shader: 'nn/add-to',
        flags: oneTensor ? ['ONE_TENSOR'] : [],
        params: {
          rows,
          cols,
          x_offset: x.offset,
          x_stride: x.stride,
          y_offset: y.offset,
          y_stride: y.stride,
        },
        tensors: oneTensor ? [x.tensor] : [x.tensor, y.tensor],
        workgroups: ceilDiv(rows * cols, 256),
      });
    },
  };
}
