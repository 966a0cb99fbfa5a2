import { ceilDiv } from '../../../core/dims.js';
import { assert } from '../../../core/errors.js';
import { MAX_BLOCK, type LinalgOps } from '../../../engine/linalg.js';
import type { MatrixView } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

/** Rows or columns of x that one workgroup takes. */
const LINES = 32;

/** The two triangular solves with a factored block. */
export function createSolves(context: KernelContext): Pick<LinalgOps, 'solveLeft' | 'solveRight'> {
  const launch = (
    shader: 'linalg/solve-left' | 'linalg/solve-right',
    l: MatrixView,
    x: MatrixView,
    m: number,
  ): void => {
    const n = l.rows;
    assert(n <= MAX_BLOCK, `${shader}: ${n} rows, at most ${MAX_BLOCK}`);
    checkView(`${shader} l`, l, ['f32'], n, n);
    if (n === 0) return;
    const shared = l.tensor === x.tensor;
    context.dispatch({
      shader,
      flags: shared ? ['L_IN_X'] : [],
      params: {
        n,
        m,
        l_offset: l.offset,
        l_stride: l.stride,
        x_offset: x.offset,
        x_stride: x.stride,
      },
      tensors: shared ? [x.tensor] : [l.tensor, x.tensor],
      workgroups: ceilDiv(m, LINES),
    });
  };
  return {
    solveLeft: ({ l, x }) => {
      checkView('solveLeft x', x, ['f32'], l.rows, x.cols);
      launch('linalg/solve-left', l, x, x.cols);
    },
    solveRight: ({ l, x }) => {
      checkView('solveRight x', x, ['f32'], x.rows, l.rows);
      launch('linalg/solve-right', l, x, x.rows);
    },
  };
}
