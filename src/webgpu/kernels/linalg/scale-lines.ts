import { ceilDiv } from '../../../core/dims.js';
import { assert } from '../../../core/errors.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import { elementCount } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

export function createScaleLines(context: KernelContext): Pick<LinalgOps, 'scaleLines'> {
  return {
    scaleLines: ({ x, factors, axis }) => {
      checkView('scaleLines', x, ['f32']);
      const lines = axis === 'rows' ? x.rows : x.cols;
      assert(
        factors.dtype === 'f32' && elementCount(factors) >= lines,
        `scaleLines: ${factors.label} has no ${lines} f32 elements`,
      );
      context.dispatch({
        shader: 'linalg/scale-lines',
        params: {
          rows: x.rows,
          cols: x.cols,
          offset: x.offset,
          stride: x.stride,
          by_row: axis === 'rows' ? 1 : 0,
        },
        tensors: [x.tensor, factors],
        workgroups: ceilDiv(x.rows * x.cols, 256),
      });
    },
  };
}
