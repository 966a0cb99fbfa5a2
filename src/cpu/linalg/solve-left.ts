import type { RealMatrix } from '../matrix.js';

/** Columns of x kept in float64 at a time: n · 256 doubles fit the second-level cache. */
const CHUNK_COLS = 256;

/**
 * x ← L⁻ᵀ·x in place: from the last row back, x_i ← (x_i − Σ_{k>i} L[k,i]·x_k) / L[i,i]. Works in float64.
 * l [n, n] lower triangle, x [n, m].
 */
export function solveLeft(l: RealMatrix, x: RealMatrix): void {
  const n = l.rows;
  const buffer = new Float64Array(n * CHUNK_COLS);
  const { data, offset, stride } = x;
  for (let col = 0; col < x.cols; col += CHUNK_COLS) {
    const cols = Math.min(CHUNK_COLS, x.cols - col);
    for (let i = 0; i < n; i++)
      for (let j = 0, at = offset + i * stride + col; j < cols; j++)
        buffer[i * CHUNK_COLS + j] = data[at + j];
    for (let k = n - 1; k >= 0; k--) {
      const row = k * CHUNK_COLS;
      const pivot = l.data[l.offset + k * l.stride + k];
      for (let j = 0; j < cols; j++) buffer[row + j] /= pivot;
      for (let i = 0; i < k; i++) {
        const factor = l.data[l.offset + k * l.stride + i];
        const target = i * CHUNK_COLS;
        for (let j = 0; j < cols; j++) buffer[target + j] -= factor * buffer[row + j];
      }
    }
    for (let i = 0; i < n; i++)
      for (let j = 0, at = offset + i * stride + col; j < cols; j++)
        data[at + j] = buffer[i * CHUNK_COLS + j];
  }
}
