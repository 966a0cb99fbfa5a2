import { ceilDiv } from '../../../core/dims.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';
import { checkGrid } from './grid-checks.js';

/** shaders/quant/quantize-nearest.wgsl, one lane for four columns. */
export function createQuantizeNearest(context: KernelContext): Pick<QuantOps, 'quantizeNearest'> {
  const checks = checksFor('quantizeNearest');
  return {
    quantizeNearest: (options) => {
      const { w, groupOf, firstColumn, scales, zeros, codes, error } = options;
      const { rows, cols } = w;
      checks.view('w', w, rows, cols);
      checks.view('error', error, rows, cols);
      checks.view('codes', codes, rows, cols, ['u8']);
      const { groups, top } = checkGrid(checks, options, rows, cols);
      context.dispatch({
        shader: 'quant/quantize-nearest',
        params: {
          rows,
          cols,
          groups,
          first_column: firstColumn,
          w_offset: w.offset,
          w_stride: w.stride,
          error_offset: error.offset,
          error_stride: error.stride,
          codes_offset: codes.offset,
          codes_stride: codes.stride,
          top,
        },
        tensors: [w.tensor, groupOf, scales, zeros, error.tensor, codes.tensor],
        workgroups: ceilDiv(rows * (cols / 4), 256),
      });
    },
  };
}
