/** What a perplexity means: without these facts two figures cannot be compared. */
export interface EvaluationProtocol {
  /** Name of the text. */
  readonly text: string;
  /** SHA-256 of the text file's bytes, hexadecimal. */
  readonly sha256: string;
  /** Tokens per window; no special tokens are added. */
  readonly seqLen: number;
  /** Tokens from one window's start to the next one's; equal to seqLen, so every token is in one window. */
  readonly stride: number;
  readonly windows: number;
  /** Precision of activations and logits. */
  readonly dtype: 'float32' | 'float64';
}

/** Kullback-Leibler divergence KL(reference ‖ model) per scored token, in nats. */
export interface DivergenceSummary {
  readonly mean: number;
  readonly median: number;
  /** 99th percentile, linearly interpolated. */
  readonly p99: number;
  readonly max: number;
}

/** The model against its reference on the same tokens. */
export interface ReferenceComparison {
  /** The reference's own perplexity. */
  readonly perplexity: number;
  readonly kld: DivergenceSummary;
  /** Root mean square change of the true token's probability. */
  readonly rmsDeltaP: number;
  /** Share of positions where both models have the same most likely token. */
  readonly sameTop: number;
  /** ln(perplexity / reference perplexity). */
  readonly lnPplRatio: number;
  /** Standard error of lnPplRatio: that of the mean per-token difference of losses; 0 for a single token. */
  readonly lnPplRatioStdErr: number;
}

export interface Evaluation {
  readonly perplexity: number;
  /** Tokens scored: all but the first of each window. */
  readonly tokens: number;
  readonly protocol: EvaluationProtocol;
  readonly reference?: ReferenceComparison;
}
