import { ceilDiv } from '../../../core/dims.js';
import type { GroupRangeOptions, QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';
import { dispatchGroupFit } from './group-fit.js';
import type { GroupPlace } from './group-fit.js';

/** Lanes of one workgroup of shaders/quant/group-range.wgsl. */
const LANES = 64;
/** Divides the 80 shrink factors of the search evenly. */
const SEARCH_TEAM = 16;
/** Columns a lane should have to itself when only minimum and maximum are wanted (software adapters: all). */
const COLUMNS_PER_LANE = 8;

/** A team of lanes for each group of each row: group-range.wgsl for symmetric and asymmetric, group-fit.wgsl for the rest. */
export function createGroupRange(context: KernelContext): Pick<QuantOps, 'groupRange'> {
  const checks = checksFor('groupRange');
  return {
    groupRange: (options) => {
      const { w, groupSize, rule, scales, zeros, firstGroup } = options;
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
      const { importance } = options;
      if (importance !== undefined)
        checks.vector('costs', importance.costs, importance.firstColumn + cols, 'f32');
      const place = { groupsHere, groups };
      if (rule === 'signed' || rule === 'min') dispatchGroupFit(context, options, place);
      else spanGroups(context, options, place);
    },
  };
}

function spanGroups(
  context: KernelContext,
  options: GroupRangeOptions,
  { groupsHere, groups }: GroupPlace,
): void {
  const { w, bits, groupSize, rule, range, minZero, scales, zeros, firstGroup } = options;
  const search = range === 'mse';
  const team = search ? SEARCH_TEAM : context.facts.software ? 1 : minMaxTeam(groupSize);
  context.dispatch({
    shader: 'quant/group-range',
    flags: search ? ['SEARCH'] : [],
    constants: { TEAM: team },
    params: {
      rows: w.rows,
      groups_here: groupsHere,
      group_size: groupSize,
      groups,
      first_group: firstGroup,
      w_offset: w.offset,
      w_stride: w.stride,
      symmetric: rule === 'symmetric' ? 1 : 0,
      min_zero: minZero,
      top: 2 ** bits - 1,
    },
    tensors: [w.tensor, scales, zeros],
    workgroups: ceilDiv(w.rows * groupsHere, LANES / team),
  });
}

/** A power of two from 1 to LANES. */
function minMaxTeam(groupSize: number): number {
  let team = 1;
  while (team < LANES && team * 2 * COLUMNS_PER_LANE <= groupSize) team *= 2;
  return team;
}
