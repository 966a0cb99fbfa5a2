import type { RealMatrix } from '../matrix.js';

/** Number of rows that hold a NaN or an infinity. */
export function countNonFiniteRows(x: RealMatrix): number {
  let count = 0;
  for (let i = 0; i < x.rows; i++) {
    const row = x.offset + i * x.stride;
    // 0·v is 0 for every finite v and NaN for NaN and infinities; NaN then stays.
    let probe = 0;
    for (let j = 0; j < x.cols; j++) probe += 0 * x.data[row + j];
    if (probe !== 0) count++;
  }
  return count;
}
