import type { RealMatrix, Reals } from '../matrix.js';

/** x[i, j] ← x[i, j] times the factor of its row or of its column. */
export function scaleLines(x: RealMatrix, factors: Reals, axis: 'rows' | 'columns'): void {
  for (let i = 0; i < x.rows; i++) {
    const row = x.offset + i * x.stride;
    if (axis === 'columns') for (let j = 0; j < x.cols; j++) x.data[row + j] *= factors[j];
    else for (let j = 0; j < x.cols; j++) x.data[row + j] *= factors[i];
  }
}
