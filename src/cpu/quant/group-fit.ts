import { roundToF16 } from '../../core/dtype.js';
import type { Reals } from '../matrix.js';
import { bestOf, extentOf, lineError, lineTrial, scaleTrial, TRIALS } from './fit-grid.js';
import type { Extent, FitRun, Line } from './fit-grid.js';
import type { Grid, GroupRangeArgs } from './group-range.js';
import { toScale } from './to-scale.js';

/**
 * Scale and zero of the group of w that starts at data[start], its column `column`, for the rules signed and min. The search
 * tries the plain rule first, then the trials of fit-grid.ts from the second on.
 */
export function groupFit(args: GroupRangeArgs, start: number, column: number): Grid {
  const { rule, range, bits, groupSize, w } = args;
  const run: FitRun = { values: w.data, start, count: groupSize, costs: costsOf(args, column) };
  const extent = extentOf(run);
  const half = 2 ** (bits - 1);
  const top = 2 ** bits - 1;
  const signed = rule === 'signed';
  const plain = storable(signed ? plainScale(extent, half) : plainLine(extent, top));
  const candidate = (t: number): Line | undefined => {
    if (t === 0) return plain;
    const line = signed ? scaleTrial(run, t, half, extent) : lineTrial(run, t, { top, below: false }, extent);
    return line === undefined ? undefined : storable(line);
  };
  const errorOf = (line: Line): number => lineError(run, line, signed ? -half : 0, top);
  const { scale, min } = (range === 'mse' ? bestOf(TRIALS, candidate, errorOf) : undefined) ?? plain;
  return { scale, zero: signed ? half : -min / scale };
}

/** As the file will hold it. */
function storable({ scale, min }: Line): Line {
  return { scale: toScale(scale), min: roundToF16(min) };
}

/** The weight of largest magnitude gets code 0; zeros get the range ±1, as on GPTQ's grids. */
function plainScale({ extreme }: Extent, half: number): Line {
  return { scale: (extreme === 0 ? 1 : -extreme) / half, min: 0 };
}

/** From the least weight to the largest. */
function plainLine({ low, high }: Extent, top: number): Line {
  return { scale: (high - low) / top, min: low };
}

function costsOf({ costs, groupSize }: GroupRangeArgs, column: number): Reals {
  return costs?.subarray(column, column + groupSize) ?? new Float64Array(groupSize).fill(1);
}
