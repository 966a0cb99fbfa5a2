import type { RealMatrix, Reals } from '../matrix.js';

/** to[i] ← to[i] + Σ_j x[i,j]·y[i,j], four partial sums in float64. */
export function addRowDots(x: RealMatrix, y: RealMatrix, to: Reals): void {
  const cols = x.cols;
  const whole = cols - (cols % 4);
  for (let i = 0; i < x.rows; i++) {
    const p = x.offset + i * x.stride;
    const q = y.offset + i * y.stride;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let j = 0; j < whole; j += 4) {
      s0 += x.data[p + j] * y.data[q + j];
      s1 += x.data[p + j + 1] * y.data[q + j + 1];
      s2 += x.data[p + j + 2] * y.data[q + j + 2];
      s3 += x.data[p + j + 3] * y.data[q + j + 3];
    }
    for (let j = whole; j < cols; j++) s0 += x.data[p + j] * y.data[q + j];
    to[i] += s0 + s1 + (s2 + s3);
  }
}
