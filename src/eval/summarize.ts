import { assert } from '../core/errors.js';
import type { DivergenceSummary, ReferenceComparison } from './protocol.js';

/** Figures of every scored token, in float64 on the host. All arrays have one length, at least 1. */
export interface TokenComparisons {
  /** −ln p of the true token, by the model. */
  readonly losses: Float64Array;
  readonly referenceLosses: Float64Array;
  /** KL(reference ‖ model), nats. */
  readonly divergences: Float64Array;
  /** Probability of the true token: model minus reference. */
  readonly deltaP: Float64Array;
  /** 1 where the most likely tokens agree, else 0. */
  readonly sameTop: Uint8Array;
}

export function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** exp of the mean loss. */
export function perplexityOf(losses: Float64Array): number {
  return Math.exp(meanOf(losses));
}

/** The value below which a share `p` of the sorted values lie, linearly interpolated between neighbours. */
export function percentile(sorted: Float64Array, p: number): number {
  assert(sorted.length > 0, 'a percentile of nothing');
  const at = p * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

export function summarizeDivergences(divergences: Float64Array): DivergenceSummary {
  const sorted = divergences.slice().sort();
  return {
    mean: meanOf(divergences),
    median: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    max: sorted[sorted.length - 1],
  };
}

export function compareToReference(tokens: TokenComparisons): ReferenceComparison {
  const differences = tokens.losses.map((loss, i) => loss - tokens.referenceLosses[i]);
  const lnPplRatio = meanOf(differences);
  return {
    perplexity: perplexityOf(tokens.referenceLosses),
    kld: summarizeDivergences(tokens.divergences),
    rmsDeltaP: Math.sqrt(meanOf(tokens.deltaP.map((delta) => delta * delta))),
    sameTop: meanOf(tokens.sameTop),
    lnPplRatio,
    lnPplRatioStdErr: standardError(differences, lnPplRatio),
  };
}

/** Standard error of a mean, from the sample variance; 0 for one value, where it is unknown. */
function standardError(values: Float64Array, mean: number): number {
  if (values.length < 2) return 0;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return Math.sqrt(variance / values.length);
}
