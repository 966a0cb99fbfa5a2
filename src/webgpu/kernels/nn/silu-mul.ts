import { ceilDiv } from '../../../core/dims.js';
import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** shaders/nn/silu-mul.wgsl, one lane an element. The operand that shares its tensor with out goes first. */
export function createSiluMul(context: KernelContext): Pick<NnOps, 'siluMul'> {
  const checks = checksFor('siluMul');
  return {
    siluMul: ({ gate, up, out }) => {
      const { rows, cols } = gate;
      checks.view('gate', gate, rows, cols);
      checks.view('up', up, rows, cols);
      checks.view('out', out, rows, cols);
      const upFirst = out.tensor === up.tensor;
      const [first, second] = upFirst ? [up, gate] : [gate, up];
      const inPlace = out.tensor === first.tensor;
      context.dispatch({
        shader: 'nn/silu-mul',
        flags: inPlace ? ['IN_PLACE'] : [],
        params: {
          rows,
          cols,
          first_offset: first.offset,
          first_stride: first.stride,
          second_offset: second.offset,
          second_stride: second.stride,
          out_offset: out.offset,
          out_stride: out.stride,
          up_first: upFirst ? 1 : 0,
        },
        tensors: inPlace ? [first.tensor, second.tensor] : [first.tensor, second.tensor, out.tensor],
        workgroups: ceilDiv(rows * cols, 256),
      });
    },
  };
}
