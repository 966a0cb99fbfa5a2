import { K_QUANTS, SUPER_BLOCK } from '../../../core/quantized-linear.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** shaders/quant/super-block-range.wgsl, one workgroup for each super-block of each row. */
export function createSuperBlockRange(context: KernelContext): Pick<QuantOps, 'superBlockRange'> {
  const checks = checksFor('superBlockRange');
  return {
    superBlockRange: ({ type, w, importance, scales, zeros, blocks, firstBlock }) => {
      const { rows, cols } = w;
      const blocksHere = cols / SUPER_BLOCK;
      const perRow = (blocks.shape[1] ?? 0) / 2;
      const subs = (perRow * SUPER_BLOCK) / K_QUANTS[type].subBlock;
      checks.that(Number.isInteger(blocksHere), `${cols} columns are not whole super-blocks`);
      checks.that(
        firstBlock + blocksHere <= perRow,
        `super-blocks ${firstBlock}+${blocksHere} leave the ${perRow} of a row`,
      );
      checks.view('w', w, rows, cols);
      checks.shape('blocks', blocks, [rows, 2 * perRow], 'f32');
      checks.shape('scales', scales, [rows, subs], 'f32');
      checks.shape('zeros', zeros, [rows, subs], 'f32');
      if (importance !== undefined)
        checks.vector('costs', importance.costs, importance.firstColumn + cols, 'f32');
      context.dispatch({
        shader: 'quant/super-block-range',
        flags: [...(type === 'q6_k' ? ['SIX_BIT'] : []), ...(importance === undefined ? [] : ['COSTS'])],
        params: {
          rows,
          blocks_here: blocksHere,
          blocks: perRow,
          first_block: firstBlock,
          first_column: importance?.firstColumn ?? 0,
          w_offset: w.offset,
          w_stride: w.stride,
        },
        tensors: [w.tensor, scales, zeros, blocks, ...(importance === undefined ? [] : [importance.costs])],
        workgroups: rows * blocksHere,
      });
    },
  };
}
