import { roundToF16 } from '../../core/dtype.js';
import type { Reals } from '../matrix.js';
import { extremeOf, fitLine, fitScale } from './fit-grid.js';
import type { FitRun, Line } from './fit-grid.js';
import type { Grid, GroupRangeArgs } from './group-range.js';
import { toScale } from './to-scale.js';

/** Scale and zero of the group of w that starts at data[start], its column `column`, for the rules signed and min. */
export function groupFit(args: GroupRangeArgs, start: number, column: number): Grid {
  const { rule, range, bits, groupSize, w } = args;
  const run: FitRun = { values: w.data, start, count: groupSize, costs: costsOf(args, column) };
  const half = 2 ** (bits - 1);
  if (rule === 'signed') {
    const fitted = range === 'mse' ? fitScale(run, half) : undefined;
    return { scale: toScale(fitted ?? plainScale(run, half)), zero: half };
  }
  const top = 2 ** bits - 1;
  const { scale, min } = (range === 'mse' ? fitLine(run, top, false) : undefined) ?? plainLine(run, top);
  const step = toScale(scale);
  return { scale: step, zero: -roundToF16(min) / step };
}

/** The weight of largest magnitude gets code 0; zeros get the range ±1, as on GPTQ's grids. */
function plainScale(run: FitRun, half: number): number {
  const extreme = extremeOf(run);
  return (extreme === 0 ? 1 : -extreme) / half;
}

/** From the least weight to the largest. */
function plainLine({ values, start, count }: FitRun, top: number): Line {
  let low = values[start];
  let high = values[start];
  for (let i = start + 1; i < start + count; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return { scale: (high - low) / top, min: low };
}

/** Only the search asks for them. */
function costsOf({ costs, groupSize, range }: GroupRangeArgs, column: number): Reals {
  if (range === 'minmax') return new Float64Array(0);
  return costs?.subarray(column, column + groupSize) ?? new Float64Array(groupSize).fill(1);
}
