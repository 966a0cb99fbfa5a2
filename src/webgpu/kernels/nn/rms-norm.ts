import { ceilDiv } from '../../../core/dims.js';
import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor, elementFlags } from '../view-checks.js';

/**
 * shaders/nn/rms-norm.wgsl: one workgroup a row; on software adapters, where barriers cost most, one lane a row.
 */
export function createRmsNorm(context: KernelContext): Pick<NnOps, 'rmsNorm'> {
  const checks = checksFor('rmsNorm');
  const { software, subgroups } = context.facts;
  const variant = software ? ['ROW_PER_LANE'] : subgroups ? ['SUBGROUPS'] : [];
  return {
    rmsNorm: ({ x, weight, eps, out }) => {
      const { rows, cols } = x;
      checks.view('x', x, rows, cols);
      checks.view('out', out, rows, cols);
      checks.vector('weight', weight, cols, weight.dtype);
      const inPlace = out.tensor === x.tensor;
      context.dispatch({
        shader: 'nn/rms-norm',
        flags: [...variant, ...elementFlags(checks, 'weight', weight), ...(inPlace ? ['IN_PLACE'] : [])],
        params: {
          rows,
          cols,
          x_offset: x.offset,
          x_stride: x.stride,
          out_offset: out.offset,
          out_stride: out.stride,
          eps,
        },
        tensors: inPlace ? [x.tensor, weight] : [x.tensor, weight, out.tensor],
        workgroups: software ? ceilDiv(rows, 256) : rows,
      });
    },
  };
}
