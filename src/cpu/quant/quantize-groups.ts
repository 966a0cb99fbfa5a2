import type { Bits, RangeRule } from '../../engine/quant.js';
import type { DenseDType } from '../../engine/tensor.js';
import { matrixRows, realsLike, wholeMatrix } from '../matrix.js';
import type { Matrix, RealMatrix } from '../matrix.js';
import { copyMatrix } from '../tensor/copy.js';
import type { DenseMatrix } from '../tensor/copy.js';
import { groupRange } from './group-range.js';
import { packCodes } from './pack-codes.js';
import { quantizeNearest } from './quantize-nearest.js';

export interface QuantizeGroupsArgs {
  /** [N, K]: numbers, or the bits of float16 and bfloat16. */
  readonly w: RealMatrix | Matrix<Uint16Array>;
  readonly dtype: DenseDType;
  readonly rule: RangeRule;
  readonly bits: Bits;
  readonly groupSize: number;
  readonly minZero: 0 | 1;
  /** [N, K·bits/32]. */
  readonly packed: Matrix<Uint32Array>;
  /** [N, G]. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  /** [N, 1]: 1 where the row holds NaN or infinity, else 0. */
  readonly nonFinite: Matrix<Uint32Array>;
}

/**
 * Rows onto grids of their own range: groupRange with range minmax, quantizeNearest and packCodes, one row after another.
 * This is the definition, and what the float64 oracle runs; simd/simd-rows.ts does the same in one pass.
 */
export function quantizeGroups(args: QuantizeGroupsArgs): void {
  const { w, bits, groupSize, packed, nonFinite } = args;
  const { cols } = w;
  const values = realsLike(args.scales.data, cols);
  const row = wholeMatrix(values, cols);
  const codes = wholeMatrix(new Uint8Array(cols), cols);
  const error = wholeMatrix(values.slice(), cols);
  const groupOf = Uint32Array.from({ length: cols }, (_, k) => Math.floor(k / groupSize));
  const natural = Uint32Array.from({ length: cols }, (_, k) => k);
  for (let i = 0; i < w.rows; i++) {
    copyMatrix(denseRow(args, i), row);
    const bad = !values.every(Number.isFinite);
    nonFinite.data[nonFinite.offset + i * nonFinite.stride] = bad ? 1 : 0;
    if (bad) continue;
    const grid = { scales: matrixRows(args.scales, i, 1), zeros: matrixRows(args.zeros, i, 1) };
    groupRange({ ...args, ...grid, w: row, range: 'minmax' });
    quantizeNearest({ ...grid, bits, w: row, groupOf, firstColumn: 0, codes, error });
    const at = packed.offset + i * packed.stride;
    packCodes(codes, natural, bits, packed.data.subarray(at, at + packed.cols));
  }
}

/** Row `row` of the weights. */
function denseRow({ w, dtype }: QuantizeGroupsArgs, row: number): DenseMatrix {
  const place = { rows: 1, cols: w.cols, offset: w.offset + row * w.stride, stride: w.stride };
  if (!(w.data instanceof Uint16Array)) return { ...place, data: w.data };
  return { ...place, data: w.data, half: dtype === 'f16' ? 'f16' : 'bf16' };
}
