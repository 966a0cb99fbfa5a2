import type { RealMatrix } from '../matrix.js';

/**
 * Factors H = Lᵀ·L in place, lower triangle only, from the last column back (quant/README.md section 2, step 4, without
 * the flips): L[j,j] = sqrt(H[j,j] − Σ_{k>j} L[k,j]²), L[j,i] = (H[j,i] − Σ_{k>j} L[k,j]·L[k,i]) / L[j,j] for i < j.
 * Works in float64 whatever the precision of the block.
 *
 * @returns the number of pivots that were not finite and positive; each was replaced by 1.
 */
export function choleskyBlock(block: RealMatrix): number {
  const n = block.rows;
  const { data, offset, stride } = block;
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) h[i * n + j] = data[offset + i * stride + j];
  let failures = 0;
  for (let j = n - 1; j >= 0; j--) {
    const row = j * n;
    let pivot = h[row + j];
    if (!(pivot > 0 && pivot < Infinity)) {
      failures++;
      pivot = 1;
    }
    const root = Math.sqrt(pivot);
    for (let i = 0; i < j; i++) h[row + i] /= root;
    h[row + j] = root;
    // Right-looking: take this row's contribution out of all rows that are still to come.
    for (let r = 0; r < j; r++) {
      const factor = h[row + r];
      const target = r * n;
      for (let i = 0; i <= r; i++) h[target + i] -= factor * h[row + i];
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) data[offset + i * stride + j] = h[i * n + j];
  return failures;
}
