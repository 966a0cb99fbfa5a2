import type { RealMatrix } from '../matrix.js';

export interface CausalSoftmaxArgs {
  /** [rows, keys]: dot products on entry, weights on exit. */
  readonly scores: RealMatrix;
  readonly scale: number;
  /** Column that row 0 stands at: row i sees columns ≤ firstRow + i. */
  readonly firstRow: number;
  /** Columns a row sees, its own included. */
  readonly slidingWindow: number;
}

/** Softmax of scale·scores over the columns each row sees; the others become 0. */
export function causalSoftmax({ scores, scale, firstRow, slidingWindow }: CausalSoftmaxArgs): void {
  const { data, cols } = scores;
  for (let i = 0; i < scores.rows; i++) {
    const row = scores.offset + i * scores.stride;
    const end = firstRow + i + 1;
    const start = Math.max(0, end - slidingWindow);
    let largest = -Infinity;
    for (let j = start; j < end; j++) if (data[row + j] > largest) largest = data[row + j];
    let total = 0;
    for (let j = start; j < end; j++) {
      const weight = Math.exp((data[row + j] - largest) * scale);
      data[row + j] = weight;
      total += weight;
    }
    const share = 1 / total;
    for (let j = start; j < end; j++) data[row + j] *= share;
    data.fill(0, row, row + start);
    data.fill(0, row + end, row + cols);
  }
}
