import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor, elementFlags } from '../view-checks.js';

/** shaders/nn/rms-norm.wgsl, one workgroup a row. */
export function createRmsNorm(context: KernelContext): Pick<NnOps, 'rmsNorm'> {
  const checks = checksFor('rmsNorm');
  const reduceFlags = context.facts.subgroups ? ['SUBGROUPS'] : [];
  return {
    rmsNorm: ({ x, weight, eps, out }) => {
      const { rows, cols } = x;
      checks.view('x', x, rows, cols);
      checks.view('out', out, rows, cols);
      checks.vector('weight', weight, cols, weight.dtype);
      const inPlace = out.tensor === x.tensor;
      context.dispatch({
        shader: 'nn/rms-norm',
        flags: [...reduceFlags, ...elementFlags(checks, 'weight', weight), ...(inPlace ? ['IN_PLACE'] : [])],
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
        workgroups: rows,
      });
    },
  };
}
