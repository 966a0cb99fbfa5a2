import type { Matrix, RealMatrix } from '../matrix.js';
import { logSumExp } from './token-loss.js';

export interface TokenDivergenceArgs {
  /** [n, V]. */
  readonly reference: RealMatrix;
  readonly logits: RealMatrix;
  /** [n, 1]. */
  readonly targets: Matrix<Uint32Array>;
  /** [n, 4]. */
  readonly stats: RealMatrix;
}

/**
 * Per row with P = softmax(reference), Q = softmax(logits): stats = KL(P‖Q), P[target], Q[target], and 1 where the
 * first largest element is the same, else 0.
 */
export function tokenDivergence({ reference, logits, targets, stats }: TokenDivergenceArgs): void {
  for (let i = 0; i < logits.rows; i++) {
    const p = reference.offset + i * reference.stride;
    const q = logits.offset + i * logits.stride;
    const logP = logSumExp(reference.data, p, logits.cols);
    const logQ = logSumExp(logits.data, q, logits.cols);
    let divergence = 0;
    let topP = 0;
    let topQ = 0;
    for (let j = 0; j < logits.cols; j++) {
      const u = reference.data[p + j];
      const v = logits.data[q + j];
      if (u > reference.data[p + topP]) topP = j;
      if (v > logits.data[q + topQ]) topQ = j;
      const probability = Math.exp(u - logP);
      // A token of probability 0 contributes nothing, even where its logit is −∞.
      if (probability > 0) divergence += probability * (u - logP - (v - logQ));
      else if (Number.isNaN(probability)) divergence = NaN;
    }
    const target = targets.data[targets.offset + i * targets.stride];
    const to = stats.offset + i * stats.stride;
    stats.data[to] = divergence;
    stats.data[to + 1] = Math.exp(reference.data[p + target] - logP);
    stats.data[to + 2] = Math.exp(logits.data[q + target] - logQ);
    stats.data[to + 3] = topP === topQ ? 1 : 0;
  }
}
