import { ceilDiv } from '../../../core/dims.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';
import { triangleParams } from './triangle-params.js';

const TILE = 32;

export function createTranspose(context: KernelContext): Pick<LinalgOps, 'transpose'> {
  return {
    transpose: ({ from, to, triangle }) => {
      checkView('transpose from', from, ['f32'], to.cols, to.rows);
      checkView('transpose to', to, ['f32']);
      const inPlace = from.tensor === to.tensor;
      const across = ceilDiv(to.cols, TILE);
      context.dispatch({
        shader: 'linalg/transpose',
        flags: inPlace ? ['IN_PLACE'] : [],
        params: {
          rows: to.rows,
          cols: to.cols,
          from_offset: from.offset,
          from_stride: from.stride,
          to_offset: to.offset,
          to_stride: to.stride,
          ...triangleParams(triangle),
          tiles_across: across,
        },
        tensors: inPlace ? [to.tensor] : [from.tensor, to.tensor],
        workgroups: ceilDiv(to.rows, TILE) * across,
      });
    },
  };
}
