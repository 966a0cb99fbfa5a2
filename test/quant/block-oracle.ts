/**
 * GPTQ column by column in float64 as in oracle.ts (three-step form, an inverse and all), for the grids of llama.cpp's
 * blocks: natural order, the ranges of a group or super-block taken from the weights as corrected at its first column.
 * What a range is, is judged elsewhere (test/engine/quant): here the float64 forms of the operations are called.
 */
import { K_QUANTS, SUPER_BLOCK } from '../../src/core/quantized-linear.js';
import { groupRange } from '../../src/cpu/quant/group-range.js';
import { superBlockRange } from '../../src/cpu/quant/super-block-range.js';
import { wholeMatrix } from '../../src/cpu/matrix.js';
import type { QuantSpec } from '../../src/quant/records.js';
import { roundEven } from '../engine/quant/grids.js';
import { cholesky, hessianOf, invert, quadraticLoss } from './oracle.js';
import type { Problem } from './problem.js';

export interface BlockOracle {
  /** [N, K]: the quantized weights. */
  readonly values: Float64Array;
  readonly loss: number;
}

export function blockOracle(problem: Problem, spec: QuantSpec): BlockOracle {
  const { outFeatures, inFeatures: size, weight } = problem;
  const truth = hessianOf(problem);
  const mean = truth.reduce((sum, row, j) => sum + row[j], 0) / size;
  const damped = truth.map((row, i) => row.map((value, j) => value + (i === j ? spec.damp * mean : 0)));
  const factor = spec.method === 'gptq' ? cholesky(invert(damped)) : undefined;
  const values = new Float64Array(outFeatures * size);
  const unit = spec.rule === 'q4_k' || spec.rule === 'q6_k' ? SUPER_BLOCK : spec.groupSize;
  for (let row = 0; row < outFeatures; row++) {
    const w = Float64Array.from(weight.subarray(row * size, (row + 1) * size));
    for (let start = 0; start < size; start += unit) {
      const costs = factor?.slice(start, start + unit).map((line, i) => 1 / line[start + i] ** 2);
      const grids = gridsOf(w.slice(start, start + unit), spec, costs && Float64Array.from(costs));
      for (let j = start; j < start + unit; j++) {
        const { scale, zero } = grids[Math.floor(((j - start) * grids.length) / unit)];
        const code = Math.min(Math.max(roundEven(w[j] / scale + zero), 0), 2 ** spec.bits - 1);
        values[row * size + j] = scale * (code - zero);
        if (factor === undefined) continue;
        const error = (w[j] - values[row * size + j]) / factor[j][j];
        for (let later = j + 1; later < size; later++) w[later] -= error * factor[later][j];
      }
    }
  }
  return {
    values,
    loss: quadraticLoss(
      truth,
      values.map((value, i) => weight[i] - value),
    ),
  };
}

/** Scale and zero of each group of one unit of columns. */
function gridsOf(
  unit: Float64Array,
  spec: QuantSpec,
  costs: Float64Array | undefined,
): { readonly scale: number; readonly zero: number }[] {
  const { rule, bits, groupSize, range, minZero } = spec;
  const row = (length: number) => wholeMatrix(new Float64Array(length), length);
  const groups = unit.length / groupSize;
  const [scales, zeros] = [row(groups), row(groups)];
  const w = wholeMatrix(unit, unit.length);
  if (rule === 'q4_k' || rule === 'q6_k') {
    if (K_QUANTS[rule].subBlock !== groupSize) throw new Error(`sub-blocks of ${groupSize}`);
    superBlockRange({ type: rule, w, costs, scales, zeros, blocks: row(2) });
  } else {
    if (range === 'hqq') throw new Error('no oracle for hqq here');
    groupRange({ w, bits, groupSize, rule, range, minZero, costs, scales, zeros });
  }
  return Array.from(scales.data, (scale, i) => ({ scale, zero: zeros.data[i] }));
}
