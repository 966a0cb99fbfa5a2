import type { QuantizeGroupsOps } from '../engine/quantize-groups.js';
import type { DenseDType, MatrixView, Tensor } from '../engine/tensor.js';
import { OpCheck } from './op-check.js';
import { dense, reals, runRows, words } from './op-context.js';
import type { OpContext } from './op-context.js';

/** Measured: nanoseconds a weight on one thread. */
const WEIGHT_NS = 1.7;

/** A matrix without gaps at the start of a tensor. */
function leading(tensor: Tensor, rows: number, cols: number): MatrixView {
  return { tensor, rows, cols, offset: 0, stride: cols };
}

/** Round to nearest in one pass: checks at the call, work in call order. */
export function createQuantizeGroupsOps(context: OpContext): QuantizeGroupsOps {
  return {
    quantizeGroups(options) {
      const { w, rule, bits, groupSize, minZero, packed, scales, zeros, nonFinite } = options;
      const { rows, cols } = w;
      const groups = cols / groupSize;
      const rowWords = (cols * bits) / 32;
      new OpCheck('quantizeGroups', context)
        .view('w', w, ['f32', 'f16', 'bf16'])
        .that(Number.isInteger(groups), `${cols} columns are no multiple of the group size ${groupSize}`)
        .that(groupSize % 4 === 0, `group size ${groupSize} is no multiple of 4`)
        .that(Number.isInteger(rowWords), `${cols} codes of ${bits} bits do not fill whole words`)
        .tensor('packed', packed, ['u32'], rows * rowWords)
        .tensor('scales', scales, ['f32'], rows * groups)
        .tensor('zeros', zeros, ['f32'], rows * groups)
        .tensor('nonFinite', nonFinite, ['u32'], rows)
        .done();
      const memory = (tensor: Tensor, width: number) => ({
        data: words(tensor),
        rows,
        cols: width,
        offset: 0,
        stride: width,
      });
      context.record(() =>
        runRows(
          context,
          'quantize-groups',
          {
            w: dense(w),
            dtype: w.tensor.dtype as DenseDType,
            rule,
            bits,
            groupSize,
            minZero,
            packed: memory(packed, rowWords),
            scales: reals(leading(scales, rows, groups)),
            zeros: reals(leading(zeros, rows, groups)),
            nonFinite: memory(nonFinite, 1),
          },
          rows * cols * WEIGHT_NS,
        ),
      );
    },
  };
}
