import type { MatrixView, Tensor } from './tensor.js';
import type { AffineWeight } from './quant.js';
import type { CodebookWeight } from './codebook.js';

/** A weight [N, K] of a linear layer: as the checkpoint stores it, or on a grid. */
export type LinearWeight =
  | { readonly kind: 'dense'; /** f32, f16 or bf16 [N, K]. */ readonly tensor: Tensor }
  | ({ readonly kind: 'affine' } & AffineWeight)
  | ({ readonly kind: 'codebook' } & CodebookWeight);

/** Forward operations of decoder layers; everything f32 unless said. n is a number of token rows. */
export interface NnOps {
  /**
   * Gathers rows of an embedding table cut into row panels: out[i] = table[tokens[i]]. `panels` are f32, f16 or bf16
   * [rows, D] in order, together V rows. tokens u32 [n] must be < V (callers check on the host). out [n, D].
   */
  embed(options: { readonly tokens: Tensor; readonly panels: readonly Tensor[]; readonly out: Tensor }): void;

  /**
   * out[n, N] = x[n, K]·deq(weight)ᵀ (+ bias[N]). Weights are converted or dequantized inside the operation, never
   * expanded whole on WebGPU. bias f32, f16 or bf16 [N].
   */
  linear(options: {
    readonly x: MatrixView;
    readonly weight: LinearWeight;
    readonly bias?: Tensor;
    readonly out: MatrixView;
  }): void;

  /** out = x / sqrt(mean(x²) + eps) · weight, over the columns of each row. weight f32, f16 or bf16 [cols]. */
  rmsNorm(options: {
    readonly x: MatrixView;
    readonly weight: Tensor;
    readonly eps: number;
    readonly out: MatrixView;
  }): void;

  /**
   * Rotary position embedding in place, "rotate half" order (as Hugging Face stores Llama weights): for head h and
   * i < rotaryDims/2, (x[i], x[i + rotaryDims/2]) rotates by the angle of `position`. x [B·T, heads·headDim];
   * row r is position r mod T. cos, sin f32 [T', rotaryDims/2] with T' ≥ T, computed on the host in float64, attention
   * scaling (yarn) already multiplied in.
   */
  rope(options: {
    readonly x: MatrixView;
    readonly cos: Tensor;
    readonly sin: Tensor;
    readonly seqLen: number;
    readonly heads: number;
    readonly headDim: number;
    readonly rotaryDims: number;
  }): void;

  /**
   * Causal grouped-query attention of whole windows, the score matrix never stored on WebGPU.
   * q, out [B·T, H·E]; k, v [B·T, kvHeads·E]; window b is rows [b·T, (b+1)·T). Position t sees s with s ≤ t and,
   * where slidingWindow is given, t − s < slidingWindow. Scores are multiplied by `scale` before the softmax.
   */
  attention(options: {
    readonly q: MatrixView;
    readonly k: MatrixView;
    readonly v: MatrixView;
    readonly out: MatrixView;
    readonly seqLen: number;
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly scale: number;
    readonly slidingWindow?: number;
  }): void;

  /** out = silu(gate) · up; out may be gate or up. */
  siluMul(options: { readonly gate: MatrixView; readonly up: MatrixView; readonly out: MatrixView }): void;

  /** x ← x + y. */
  addTo(options: { readonly x: MatrixView; readonly y: MatrixView }): void;

  /**
   * Per row of logits [n, V]: losses[i] = −ln softmax(logits[i])[targets[i]]. targets u32 [n]; losses f32 [n].
   */
  tokenLoss(options: {
    readonly logits: MatrixView;
    readonly targets: Tensor;
    readonly losses: Tensor;
  }): void;

  /**
   * Compares two rows of logits, P = softmax(reference), Q = softmax(logits): stats f32 [n, 4] gets
   * KL(P‖Q) = Σ P·(ln P − ln Q), P[target], Q[target], and 1 where argmax agrees else 0 (first index wins a tie).
   */
  tokenDivergence(options: {
    readonly reference: MatrixView;
    readonly logits: MatrixView;
    readonly targets: Tensor;
    readonly stats: Tensor;
  }): void;
}
