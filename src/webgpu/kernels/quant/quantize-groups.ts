import { ceilDiv } from '../../../core/dims.js';
import type { RangeRule } from '../../../engine/quant.js';
import type { QuantizeGroupsOps } from '../../../engine/quantize-groups.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor, elementFlags } from '../view-checks.js';

/** Lanes of one workgroup of quantize-groups-grid.wgsl. */
const LANES = 64;
const RULES: Readonly<Record<RangeRule, number>> = { symmetric: 0, asymmetric: 1, signed: 2, min: 3 };

/**
 * shaders/quant/quantize-groups-grid.wgsl, a team of lanes for each group (software adapters: one lane), then
 * quantize-groups-codes.wgsl, one lane a word of codes.
 */
export function createQuantizeGroups(context: KernelContext): QuantizeGroupsOps {
  const checks = checksFor('quantizeGroups');
  return {
    quantizeGroups: ({ w, rule, bits, groupSize, minZero, packed, scales, zeros, nonFinite }) => {
      const { rows, cols } = w;
      const groups = cols / groupSize;
      const words = (cols * bits) / 32;
      const flags = elementFlags(checks, 'w', w.tensor);
      checks.view('w', w, rows, cols, [w.tensor.dtype]);
      checks.that(Number.isInteger(groups), `${cols} columns are no multiple of the group size ${groupSize}`);
      checks.that(groupSize % 4 === 0, `group size ${groupSize} is no multiple of 4`);
      checks.that(Number.isInteger(words), `${cols} codes of ${bits} bits do not fill whole words`);
      checks.vector('packed', packed, rows * words, 'u32');
      checks.vector('scales', scales, rows * groups, 'f32');
      checks.vector('zeros', zeros, rows * groups, 'f32');
      checks.vector('nonFinite', nonFinite, rows, 'u32');
      const team = context.facts.software ? 1 : teamOf(groupSize);
      const top = 2 ** bits - 1;
      const place = { group_size: groupSize, w_offset: w.offset, w_stride: w.stride, top };
      context.dispatch({
        shader: 'tensor/fill',
        params: { first: 0, count: rows, bits: 0 },
        tensors: [nonFinite],
        workgroups: ceilDiv(rows, 256),
      });
      context.dispatch({
        shader: 'quant/quantize-groups-grid',
        flags,
        constants: { TEAM: team },
        params: { rows, groups_here: groups, rule: RULES[rule], min_zero: minZero, ...place },
        tensors: [w.tensor, scales, zeros, nonFinite],
        workgroups: ceilDiv(rows * groups, LANES / team),
      });
      context.dispatch({
        shader: 'quant/quantize-groups-codes',
        flags,
        params: { rows, cols, bits, ...place },
        tensors: [w.tensor, scales, zeros, packed],
        workgroups: ceilDiv(rows * words, 256),
      });
    },
  };
}

/** The power of two that gives each lane at least four weights. */
function teamOf(groupSize: number): number {
  return Math.min(LANES, 2 ** Math.floor(Math.log2(Math.max(1, groupSize / 4))));
}
