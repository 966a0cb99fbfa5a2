import { ceilDiv } from '../../../core/dims.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';
import { checkGrid } from './grid-checks.js';

/** shaders/quant/dequantize.wgsl, one lane an element. */
export function createDequantize(context: KernelContext): Pick<QuantOps, 'dequantize'> {
  const checks = checksFor('dequantize');
  return {
    dequantize: ({ weight, out }) => {
      const { outFeatures: rows, inFeatures: cols, bits, codes, groupOf, scales, zeros } = weight;
      const words = (cols * bits) / 32;
      checks.that(Number.isInteger(words), `${cols} columns of ${bits} bits do not fill whole words`);
      checks.shape('codes', codes, [rows, words], 'u32');
      checks.view('out', out, rows, cols);
      const { groups } = checkGrid(checks, { ...weight, firstColumn: 0 }, rows, cols);
      context.dispatch({
        shader: 'quant/dequantize',
        params: { rows, cols, groups, bits, out_offset: out.offset, out_stride: out.stride },
        tensors: [codes, groupOf, scales, zeros, out.tensor],
        workgroups: ceilDiv(rows * cols, 256),
      });
    },
  };
}
