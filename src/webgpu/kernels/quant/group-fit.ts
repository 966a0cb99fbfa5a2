import { ceilDiv } from '../../../core/dims.js';
import type { GroupRangeOptions } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';

/** Lanes of one workgroup of shaders/quant/group-fit.wgsl. */
const LANES = 64;
/** Divides the 24 trials of a fit evenly. */
const FIT_TEAM = 8;

/** Groups of a call, and of a row of its scales. */
export interface GroupPlace {
  readonly groupsHere: number;
  /** G. */
  readonly groups: number;
}

/** shaders/quant/group-fit.wgsl, a team of lanes for each group of each row, or one lane where nothing is searched. */
export function dispatchGroupFit(
  context: KernelContext,
  options: GroupRangeOptions,
  { groupsHere, groups }: GroupPlace,
): void {
  const { w, bits, groupSize, rule, range, scales, zeros, firstGroup } = options;
  const search = range === 'mse';
  const importance = search ? options.importance : undefined;
  const team = search ? FIT_TEAM : 1;
  context.dispatch({
    shader: 'quant/group-fit',
    flags: [...(search ? ['SEARCH'] : []), ...(importance === undefined ? [] : ['COSTS'])],
    constants: { TEAM: team },
    params: {
      rows: w.rows,
      groups_here: groupsHere,
      group_size: groupSize,
      groups,
      first_group: firstGroup,
      first_column: importance?.firstColumn ?? 0,
      w_offset: w.offset,
      w_stride: w.stride,
      with_min: rule === 'min' ? 1 : 0,
      top: 2 ** bits - 1,
    },
    tensors: [w.tensor, scales, zeros, ...(importance === undefined ? [] : [importance.costs])],
    workgroups: ceilDiv(w.rows * groupsHere, LANES / team),
  });
}
