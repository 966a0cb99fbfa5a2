import { ceilDiv } from '../../../core/dims.js';
import { MAX_BLOCK } from '../../../engine/linalg.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { createCopy } from '../tensor/copy.js';
import { checksFor } from '../view-checks.js';
import { checkGrid } from './grid-checks.js';
import { rowVariant } from './row-variant.js';

/**
 * shaders/quant/gptq-block.wgsl leaves E in `carried`, because a ninth storage binding would be one more than every
 * device allows; a copy then brings it to `error`.
 */
export function createGptqBlock(context: KernelContext): Pick<QuantOps, 'gptqBlock'> {
  const checks = checksFor('gptqBlock');
  const { flags, rowsPerGroup } = rowVariant(context.facts);
  const { copy } = createCopy(context);
  return {
    gptqBlock: (options) => {
      const { w, carried, l, groupOf, firstColumn, scales, zeros, error, codes, losses } = options;
      const { rows, cols } = w;
      checks.that(cols >= 1 && cols <= MAX_BLOCK, `${cols} columns, expected 1 … ${MAX_BLOCK}`);
      checks.view('w', w, rows, cols);
      checks.view('carried', carried, rows, cols);
      checks.view('l', l, cols, cols);
      checks.view('error', error, rows, cols);
      checks.view('codes', codes, rows, cols, ['u8']);
      checks.vector('losses', losses, rows, 'f32');
      const { groups, top } = checkGrid(checks, options, rows, cols);
      context.dispatch({
        shader: 'quant/gptq-block',
        flags,
        params: {
          rows,
          cols,
          groups,
          first_column: firstColumn,
          w_offset: w.offset,
          w_stride: w.stride,
          carried_offset: carried.offset,
          carried_stride: carried.stride,
          l_offset: l.offset,
          l_stride: l.stride,
          codes_offset: codes.offset,
          codes_stride: codes.stride,
          top,
        },
        tensors: [w.tensor, carried.tensor, l.tensor, groupOf, scales, zeros, codes.tensor, losses],
        workgroups: ceilDiv(rows, rowsPerGroup),
      });
      copy({ from: carried, to: error });
    },
  };
}
