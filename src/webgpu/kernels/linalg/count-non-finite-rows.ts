import type { LinalgOps } from '../../../engine/linalg.js';
import type { TensorDType } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checkView } from '../view-checks.js';

/** The bits of the exponent, all set in NaN and infinities. */
const EXPONENT_BITS: Readonly<Partial<Record<TensorDType, number>>> = {
  f32: 0x7f800000,
  f16: 0x7c00,
  bf16: 0x7f80,
};

export function createCountNonFiniteRows(context: KernelContext): Pick<LinalgOps, 'countNonFiniteRows'> {
  return {
    countNonFiniteRows: ({ x, count }) => {
      checkView('countNonFiniteRows', x, ['f32', 'f16', 'bf16']);
      context.dispatch({
        shader: 'linalg/count-non-finite-rows',
        flags: x.tensor.dtype === 'f32' ? [] : ['HALF'],
        params: {
          rows: x.rows,
          cols: x.cols,
          offset: x.offset,
          stride: x.stride,
          exponent: EXPONENT_BITS[x.tensor.dtype] ?? 0,
        },
        tensors: [x.tensor, count],
        workgroups: x.rows,
      });
    },
  };
}
