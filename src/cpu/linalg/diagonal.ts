import type { RealMatrix, Reals } from '../matrix.js';

/** to[toOffset + i] ← from[i, i]. */
export function getDiagonal(from: RealMatrix, to: Reals, toOffset: number): void {
  const n = Math.min(from.rows, from.cols);
  for (let i = 0; i < n; i++) to[toOffset + i] = from.data[from.offset + i * from.stride + i];
}

/** to[i, i] ← from[fromOffset + i]. */
export function setDiagonal(from: Reals, fromOffset: number, to: RealMatrix): void {
  const n = Math.min(to.rows, to.cols);
  for (let i = 0; i < n; i++) to.data[to.offset + i * to.stride + i] = from[fromOffset + i];
}
