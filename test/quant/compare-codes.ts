import type { AffineLinear } from '../../src/core/quantized-linear.js';
import type { OracleResult } from './oracle.js';
import { unpackCodes } from './run-quantizer.js';

export interface CodeComparison {
  /** Rows whose codes and grids all agree. */
  readonly equalRows: number;
  /** Rows that part from the oracle where its unrounded value, or a scale before float16, lies at a boundary. */
  readonly boundaryRows: number;
  /** What is wrong with any other row; must be empty. */
  readonly faults: readonly string[];
}

/** Neighbouring float16 values differ by at most this share. */
const F16_STEP = 2 ** -10;

/**
 * Compares row by row in processing order. Only the first difference of a row is judged: every later column of GPTQ
 * depends on it. `distance` is in units of codes, from the unrounded value to the rounding boundary.
 */
export function compareCodes(linear: AffineLinear, expected: OracleResult, distance: number): CodeComparison {
  const { outFeatures, inFeatures } = linear;
  const groups = expected.scales.length / outFeatures;
  const codes = unpackCodes(linear);
  const faults: string[] = [];
  if (codes.length !== expected.codes.length || linear.scales.length !== expected.scales.length)
    faults.push('sizes differ');
  expected.groupOf.forEach((group, column) => {
    if (linear.groupOf[column] !== group)
      faults.push(`column ${column} is in group ${linear.groupOf[column]}, not ${group}`);
  });
  let boundaryRows = 0;
  for (let row = 0; row < outFeatures && faults.length === 0; row++) {
    const verdict = firstDifference(row);
    if (verdict === 'boundary') boundaryRows++;
    else if (verdict !== undefined) faults.push(verdict);
  }
  return { equalRows: outFeatures - boundaryRows - faults.length, boundaryRows, faults };

  function firstDifference(row: number): string | undefined {
    for (const column of expected.order) {
      const at = row * groups + expected.groupOf[column];
      const [scale, zero] = [linear.scales[at], linear.zeros[at]];
      if (scale !== expected.scales[at] || zero !== expected.zeros[at]) {
        const near = Math.abs(scale - expected.scales[at]) <= F16_STEP * expected.scales[at];
        if (near && Math.abs(zero - expected.zeros[at]) <= 1) return 'boundary';
        return `row ${row} column ${column}: scale ${scale}, zero ${zero} where ${expected.scales[at]}, ${expected.zeros[at]} is expected`;
      }
      const index = row * inFeatures + column;
      if (codes[index] === expected.codes[index]) continue;
      const exact = expected.unrounded[index];
      const off = Math.abs(Math.abs(exact - Math.round(exact)) - 0.5);
      if (off <= distance && Math.abs(codes[index] - expected.codes[index]) === 1) return 'boundary';
      return `row ${row} column ${column}: code ${codes[index]} where ${expected.codes[index]} is expected (unrounded ${exact})`;
    }
    return undefined;
  }
}
