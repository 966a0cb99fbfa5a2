import type { RealMatrix, Reals } from '../matrix.js';

/** out = x / sqrt(mean(x²) + eps)·weight over the columns of each row; out may be x. */
export function rmsNorm(x: RealMatrix, weight: Reals, eps: number, out: RealMatrix): void {
  const cols = x.cols;
  for (let i = 0; i < x.rows; i++) {
    const from = x.offset + i * x.stride;
    const to = out.offset + i * out.stride;
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += x.data[from + j] * x.data[from + j];
    const factor = 1 / Math.sqrt(sum / cols + eps);
    for (let j = 0; j < cols; j++) out.data[to + j] = x.data[from + j] * factor * weight[j];
  }
}
