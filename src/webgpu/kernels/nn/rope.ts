import { ceilDiv } from '../../../core/dims.js';
import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** shaders/nn/rope.wgsl, one lane for each pair of elements that turn together. */
export function createRope(context: KernelContext): Pick<NnOps, 'rope'> {
  const checks = checksFor('rope');
  return {
    rope: ({ x, cos, sin, seqLen, heads, headDim, rotaryDims }) => {
      const half = rotaryDims / 2;
      checks.view('x', x, x.rows, heads * headDim);
      checks.that(
        Number.isInteger(half) && rotaryDims <= headDim,
        `rotaryDims ${rotaryDims} is odd or above headDim ${headDim}`,
      );
      const positions = Math.min(seqLen, x.rows);
      checks.vector('cos', cos, positions * half, 'f32');
      checks.vector('sin', sin, positions * half, 'f32');
      context.dispatch({
        shader: 'nn/rope',
        params: {
          rows: x.rows,
          seq_len: seqLen,
          heads,
          head_dim: headDim,
          half,
          x_offset: x.offset,
          x_stride: x.stride,
        },
        tensors: [x.tensor, cos, sin],
        workgroups: ceilDiv(x.rows * heads * half, 256),
      });
    },
  };
}
