import { ceilDiv } from '../../../core/dims.js';
import { MAX_BLOCK } from '../../../engine/linalg.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';
import { checkGrid } from './grid-checks.js';
import { rowVariant } from './row-variant.js';

/** shaders/quant/refine-block.wgsl. Of `w` only the shape matters: a code and its grid tell Q. */
export function createRefineBlock(context: KernelContext): Pick<QuantOps, 'refineBlock'> {
  const checks = checksFor('refineBlock');
  const { flags, rowsPerGroup } = rowVariant(context.facts);
  return {
    refineBlock: (options) => {
      const { w, gradient, h, diagonal, groupOf, firstColumn, scales, zeros, error, codes } = options;
      const { rows, cols } = w;
      checks.that(cols >= 1 && cols <= MAX_BLOCK, `${cols} columns, expected 1 … ${MAX_BLOCK}`);
      checks.view('w', w, rows, cols);
      checks.view('gradient', gradient, rows, cols);
      checks.view('h', h, cols, cols);
      checks.view('error', error, rows, cols);
      checks.view('codes', codes, rows, cols, ['u8']);
      checks.vector('diagonal', diagonal, firstColumn + cols, 'f32');
      const { groups, top } = checkGrid(checks, options, rows, cols);
      context.dispatch({
        shader: 'quant/refine-block',
        flags,
        params: {
          rows,
          cols,
          groups,
          first_column: firstColumn,
          gradient_offset: gradient.offset,
          gradient_stride: gradient.stride,
          h_offset: h.offset,
          h_stride: h.stride,
          error_offset: error.offset,
          error_stride: error.stride,
          codes_offset: codes.offset,
          codes_stride: codes.stride,
          top,
        },
        tensors: [gradient.tensor, h.tensor, diagonal, groupOf, scales, zeros, error.tensor, codes.tensor],
        workgroups: ceilDiv(rows, rowsPerGroup),
      });
    },
  };
}
