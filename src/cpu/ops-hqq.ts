import type { HqqOps } from '../engine/hqq.js';
import { asMatrix } from '../engine/tensor.js';
import { matrixCols } from './matrix.js';
import { OpCheck } from './op-check.js';
import { reals, runRows } from './op-context.js';
import type { OpContext } from './op-context.js';

const REAL = ['f32'] as const;
/** Nanoseconds a weight: a handful of rounds with a power each. */
const COST_NS = 300;

export function createHqqOps(context: OpContext): HqqOps {
  return {
    hqqZeros(options) {
      const { w, bits, groupSize, zeroKind, scales, zeros, firstGroup } = options;
      const groups = w.cols / groupSize;
      new OpCheck('hqqZeros', context)
        .view('w', w, REAL)
        .that(Number.isInteger(groups), `${w.cols} columns are no multiple of the group size ${groupSize}`)
        .view('scales', asMatrix(scales), REAL, w.rows)
        .view('zeros', asMatrix(zeros), REAL, w.rows, asMatrix(scales).cols)
        .most('last group', firstGroup + groups, asMatrix(scales).cols)
        .done();
      context.record(() =>
        runRows(
          context,
          'hqq-zeros',
          {
            w: reals(w),
            bits,
            groupSize,
            zeroKind,
            scales: matrixCols(reals(asMatrix(scales)), firstGroup, groups),
            zeros: matrixCols(reals(asMatrix(zeros)), firstGroup, groups),
          },
          w.rows * w.cols * COST_NS,
        ),
      );
    },
  };
}
