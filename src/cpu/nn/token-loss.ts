import type { Matrix, RealMatrix, Reals } from '../matrix.js';

export interface TokenLossArgs {
  /** [n, V]. */
  readonly logits: RealMatrix;
  /** [n, 1]. */
  readonly targets: Matrix<Uint32Array>;
  /** [n, 1]. */
  readonly losses: RealMatrix;
}

/** ln Σ_j e^x[j] of one row; the largest element is taken out first. */
export function logSumExp(data: Reals, from: number, cols: number): number {
  let largest = -Infinity;
  for (let j = 0; j < cols; j++) if (data[from + j] > largest) largest = data[from + j];
  let sum = 0;
  for (let j = 0; j < cols; j++) sum += Math.exp(data[from + j] - largest);
  return largest + Math.log(sum);
}

/** losses[i] = −ln softmax(logits[i])[targets[i]]. */
export function tokenLoss({ logits, targets, losses }: TokenLossArgs): void {
  for (let i = 0; i < logits.rows; i++) {
    const row = logits.offset + i * logits.stride;
    const target = targets.data[targets.offset + i * targets.stride];
    losses.data[losses.offset + i * losses.stride] =
      logSumExp(logits.data, row, logits.cols) - logits.data[row + target];
  }
}
