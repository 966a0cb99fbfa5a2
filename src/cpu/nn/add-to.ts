import type { RealMatrix, Reals } from '../matrix.js';

/** x ← x + y. */
export function addTo(x: RealMatrix, y: RealMatrix): void {
  for (let i = 0; i < x.rows; i++) {
    const p = x.offset + i * x.stride;
    const q = y.offset + i * y.stride;
    for (let j = 0; j < x.cols; j++) x.data[p + j] += y.data[q + j];
  }
}

/** Adds `bias` [cols] to every row of x. */
export function addBias(x: RealMatrix, bias: Reals): void {
  for (let i = 0; i < x.rows; i++) {
    const p = x.offset + i * x.stride;
    for (let j = 0; j < x.cols; j++) x.data[p + j] += bias[j];
  }
}
