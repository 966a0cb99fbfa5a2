import { ceilDiv } from '../../../core/dims.js';
import { assert } from '../../../core/errors.js';
import type { LinalgOps } from '../../../engine/linalg.js';
import { elementCount, type MatrixView, type Tensor } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

export function createDiagonal(context: KernelContext): Pick<LinalgOps, 'getDiagonal' | 'setDiagonal'> {
  const launch = (x: MatrixView, line: Tensor, lineOffset: number, flags: readonly string[]): void => {
    const n = x.rows;
    checkView('diagonal', x, ['f32'], n, n);
    assert(
      line.dtype === 'f32' && lineOffset >= 0 && lineOffset + n <= elementCount(line),
      `diagonal: ${line.label} (${line.dtype}) has no ${n} elements from ${lineOffset} on`,
    );
    context.dispatch({
      shader: 'linalg/diagonal',
      flags,
      params: { n, offset: x.offset, stride: x.stride, line_offset: lineOffset },
      tensors: [x.tensor, line],
      workgroups: ceilDiv(n, 256),
    });
  };
  return {
    getDiagonal: ({ from, to, toOffset }) => launch(from, to, toOffset, []),
    setDiagonal: ({ from, fromOffset, to }) => launch(to, from, fromOffset, ['SET']),
  };
}
