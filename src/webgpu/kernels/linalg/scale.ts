import { ceilDiv } from '../../../core/dims.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';
import { triangleParams } from './triangle-params.js';

export function createScale(context: KernelContext): Pick<LinalgOps, 'scale'> {
  return {
    scale: ({ x, factor, triangle }) => {
      checkView('scale', x, ['f32']);
      context.dispatch({
        shader: 'linalg/scale',
        params: {
          rows: x.rows,
          cols: x.cols,
          offset: x.offset,
          stride: x.stride,
          ...triangleParams(triangle),
          factor,
        },
        tensors: [x.tensor],
        workgroups: ceilDiv(x.rows * x.cols, 256),
      });
    },
  };
}
