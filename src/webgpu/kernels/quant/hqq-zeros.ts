import { ceilDiv } from '../../../core/dims.js';
import type { HqqOps } from '../../../engine/hqq.js';
import { HQQ, LARGEST_ZERO } from '../../../engine/hqq.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

const LANES = 64;

export function createHqqZeros(context: KernelContext): HqqOps {
  const checks = checksFor('hqqZeros');
  return {
    hqqZeros: ({ w, bits, groupSize, zeroKind, scales, zeros, firstGroup }) => {
      const { rows, cols } = w;
      const groupsHere = cols / groupSize;
      const groups = scales.shape[1] ?? 0;
      checks.that(Number.isInteger(groupsHere), `${cols} columns are not whole groups of ${groupSize}`);
      checks.that(
        firstGroup + groupsHere <= groups,
        `groups ${firstGroup}+${groupsHere} leave the ${groups} columns of scales`,
      );
      checks.view('w', w, rows, cols);
      checks.shape('scales', scales, [rows, groups], 'f32');
      checks.shape('zeros', zeros, [rows, groups], 'f32');
      context.dispatch({
        shader: 'quant/hqq-zeros',
        params: {
          rows,
          groups_here: groupsHere,
          group_size: groupSize,
          groups,
          first_group: firstGroup,
          w_offset: w.offset,
          w_stride: w.stride,
          integer_zero: zeroKind === 'integer' ? 1 : 0,
          top: 2 ** bits - 1,
          beta: HQQ.beta,
          kappa: HQQ.kappa,
          power: HQQ.norm - 1,
          rounds: HQQ.rounds,
          largest_zero: LARGEST_ZERO,
        },
        tensors: [w.tensor, scales, zeros],
        workgroups: ceilDiv(rows * groupsHere, LANES),
      });
    },
  };
}
