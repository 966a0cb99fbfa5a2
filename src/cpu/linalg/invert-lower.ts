import type { RealMatrix } from '../matrix.js';

/** L⁻¹ of a lower triangle [n, n], computed in float64 column by column; row-major, zero above the diagonal. */
export function invertLower(l: RealMatrix): Float64Array {
  const n = l.rows;
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const line = l.offset + i * l.stride;
    const row = i * n;
    // Row i of the inverse: (e_i − Σ_{k<i} L[i,k]·inverse[k, :]) / L[i,i].
    for (let k = 0; k < i; k++) {
      const factor = l.data[line + k];
      const other = k * n;
      for (let j = 0; j <= k; j++) inverse[row + j] -= factor * inverse[other + j];
    }
    const pivot = l.data[line + i];
    for (let j = 0; j < i; j++) inverse[row + j] /= pivot;
    inverse[row + i] = 1 / pivot;
  }
  return inverse;
}
