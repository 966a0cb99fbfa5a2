import type { RealMatrix } from '../matrix.js';

/**
 * x ← x·(Lᵀ)⁻¹ in place, row by row: x_j ← (x_j − Σ_{i<j} x_i·L[j,i]) / L[j,j]. Works in float64.
 * l [n, n] lower triangle, x [m, n].
 */
export function solveRight(l: RealMatrix, x: RealMatrix): void {
  const n = l.rows;
  const factor = new Float64Array(n * n);
  for (let j = 0; j < n; j++)
    for (let i = 0; i <= j; i++) factor[j * n + i] = l.data[l.offset + j * l.stride + i];
  const row = new Float64Array(n);
  const { data, offset, stride } = x;
  for (let r = 0; r < x.rows; r++) {
    const start = offset + r * stride;
    for (let j = 0; j < n; j++) {
      const line = j * n;
      let sum = data[start + j];
      for (let i = 0; i < j; i++) sum -= row[i] * factor[line + i];
      row[j] = sum / factor[line + j];
    }
    for (let j = 0; j < n; j++) data[start + j] = row[j];
  }
}
