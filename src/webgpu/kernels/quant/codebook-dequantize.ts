import { ceilDiv } from '../../../core/dims.js';
import type { CodebookOps } from '../../../engine/codebook.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';
import { checkCodebookWeight } from './codebook-checks.js';

/** shaders/quant/codebook-dequantize.wgsl, one lane an element. */
export function createCodebookDequantize(context: KernelContext): Pick<CodebookOps, 'codebookDequantize'> {
  const checks = checksFor('codebookDequantize');
  return {
    codebookDequantize: ({ weight, out }) => {
      const { outFeatures: rows, inFeatures: cols, blockSize, codes, absmax, table } = weight;
      checkCodebookWeight(checks, weight);
      checks.view('out', out, rows, cols);
      context.dispatch({
        shader: 'quant/codebook-dequantize',
        params: {
          rows,
          cols,
          block_shift: Math.log2(blockSize),
          out_offset: out.offset,
          out_stride: out.stride,
        },
        tensors: [codes, absmax, table, out.tensor],
        workgroups: ceilDiv(rows * cols, 256),
      });
    },
  };
}
