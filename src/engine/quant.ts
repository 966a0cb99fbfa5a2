import type { Bits, GridRule, KQuantType } from '../core/quantized-linear.js';
import type { MatrixView, Tensor } from './tensor.js';

export type { Bits };

/**
 * Where the codes of a matrix [N, K] lie: value = scale·(code − zero). Column k (in the order the tensors are in)
 * belongs to group groupOf[k].
 */
export interface AffineGrid {
  readonly bits: Bits;
  /** f32 [N, G]; not 0 where something is rounded onto the grid, else any sign and size. */
  readonly scales: Tensor;
  /** f32 [N, G]; any real numbers: a grid with minima has zero = −min/scale. */
  readonly zeros: Tensor;
}

/** A quantized weight [N, K] as kept on an engine and used by `linear`. */
export interface AffineWeight extends AffineGrid {
  /** N. */
  readonly outFeatures: number;
  /** K; K·bits is divisible by 32. */
  readonly inFeatures: number;
  /**
   * u32 [N, K·bits/32]: codes of a row as one dense bit stream, least significant bits first (code k occupies bits
   * k·bits …; codes of 3, 5 and 6 bits may straddle words).
   */
  readonly codes: Tensor;
  /** u32 [K]: group of each input column (GPTQ's g_idx). */
  readonly groupOf: Tensor;
}

/** The rules whose groups stand alone. */
export type RangeRule = Exclude<GridRule, KQuantType>;

/** What an error in a column costs: f32 [K], not negative; column j of the weights is entry firstColumn + j. */
export interface ColumnCosts {
  readonly costs: Tensor;
  readonly firstColumn: number;
}

export interface GroupRangeOptions {
  /** f32 [N, cols]: the weights, cols = a whole number of groups or one group. */
  readonly w: MatrixView;
  readonly bits: Bits;
  /** Columns per group; cols must be a multiple. */
  readonly groupSize: number;
  readonly rule: RangeRule;
  /**
   * minmax, or a search for the grid of least error among GPTQ's shrink factors p = 1 − i/100, i < 80 (the first of equals
   * wins): Σ|Δ|^2.4 for symmetric and asymmetric; Σ|Δ|² for signed, with both signs of the scale, and for min.
   */
  readonly range: 'minmax' | 'mse';
  /** For the search of signed and min: what an error costs; without it, the same everywhere. */
  readonly importance?: ColumnCosts | undefined;
  /** Smallest zero point of asymmetric grids: 1 where the target (GPTQ v1) cannot hold zero points of 0. */
  readonly minZero: 0 | 1;
  /** f32 [N, G]: column firstGroup + i receives the scale of the i-th group of w. */
  readonly scales: Tensor;
  readonly zeros: Tensor;
  readonly firstGroup: number;
}

export interface SuperBlockRangeOptions {
  readonly type: KQuantType;
  /** f32 [N, cols]: the weights, cols a multiple of SUPER_BLOCK. */
  readonly w: MatrixView;
  /** Without it, weights count by their own size as in llama.cpp. */
  readonly importance?: ColumnCosts | undefined;
  /** f32 [N, G], one column per sub-block: effective scale and zero, from the first sub-block of super-block firstBlock on. */
  readonly scales: Tensor;
  readonly zeros: Tensor;
  /** f32 [N, 2·(K/SUPER_BLOCK)]: d and dmin of each super-block, side by side; float16 values. */
  readonly blocks: Tensor;
  readonly firstBlock: number;
}

export interface GptqBlockOptions extends AffineGrid {
  /** f32 [N, n]: original weights of the block's columns. n ≤ MAX_BLOCK. */
  readonly w: MatrixView;
  /** f32 [N, n]: on entry the carried error T = E[:, before]·R[before, block]. Contents afterwards unspecified. */
  readonly carried: MatrixView;
  /** Factored block L [n, n], lower triangle; R = Lᵀ. */
  readonly l: MatrixView;
  /** u32 [K]: group of each column in processing order; column j of the block is entry firstColumn + j. */
  readonly groupOf: Tensor;
  readonly firstColumn: number;
  /** f32 [N, n]: receives E = W − Q. */
  readonly error: MatrixView;
  /** u8 [N, n]: receives the codes. */
  readonly codes: MatrixView;
  /** f32 [N]: row losses; Σ_j (L[j,j]·(c_j − Q_j))² is added. */
  readonly losses: Tensor;
}

export interface RefineBlockOptions extends AffineGrid {
  /** f32 [N, n]: original weights. n ≤ MAX_BLOCK. */
  readonly w: MatrixView;
  /** f32 [N, n]: on entry G = D·H[:, block] with D = W − Q; updated with the block's own changes. */
  readonly gradient: MatrixView;
  /** f32 [n, n]: H[block, block]; only its upper triangle without the diagonal is read. */
  readonly h: MatrixView;
  /** f32 [K]: diagonal of H; column j is entry firstColumn + j. */
  readonly diagonal: Tensor;
  readonly groupOf: Tensor;
  readonly firstColumn: number;
  /** f32 [N, n]: D = W − Q on entry and exit. */
  readonly error: MatrixView;
  /** u8 [N, n]: codes on entry and exit. */
  readonly codes: MatrixView;
}

/**
 * Quantizer steps. Rounding is half to even everywhere; the nearest code of w on a grid is
 * clamp(round(w/s + (z − Z)) + Z, 0, 2^bits − 1) with Z = round(z). Rows are independent of each other. Views of u8
 * tensors have offset, stride and cols that are multiples of 4, so that kernels may write whole words.
 */
export interface QuantOps {
  /**
   * Scale and zero of each group (quant/README.md section 1): ranges contain 0; scale is rounded to float16 before anything
   * uses it; a group of zeros gets the range ±1 (GPTQ's own rule); a scale that float16 would round to 0 becomes the
   * smallest positive float16. Symmetric: zero = 2^(bits−1). Asymmetric: lo = min(w, 0), hi = max(w, 0),
   * scale = f16((hi − lo)/(2^bits − 1)), zero = clamp(round(−lo/scale), minZero, 2^bits − 1); where minZero raises the
   * zero, scale is refitted so that hi stays inside: scale = f16(hi/(2^bits − 1 − minZero)). Signed: zero = 2^(bits−1),
   * scale = f16(−m/2^(bits−1)), m the first of the elements of largest magnitude. Min: lo and hi as they are,
   * scale = f16((hi − lo)/(2^bits − 1)), min = f16(lo), zero = −min/scale.
   */
  groupRange(options: GroupRangeOptions): void;

  /**
   * Scales and minima of llama.cpp's super-blocks (quant/README.md section 1): per sub-block the scale (and, for q4_k, the
   * minimum ≤ 0) of least Σ c_j·Δ², then d and dmin, then the best 6-bit (q6_k: 8-bit) multiples near them. No scale is 0.
   */
  superBlockRange(options: SuperBlockRangeOptions): void;

  /**
   * Round to nearest: codes u8 [N, n] ← the nearest code, error f32 [N, n] ← w − s·(code − z).
   */
  quantizeNearest(
    options: AffineGrid & {
      readonly w: MatrixView;
      readonly groupOf: Tensor;
      readonly firstColumn: number;
      readonly codes: MatrixView;
      readonly error: MatrixView;
    },
  ): void;

  /**
   * One block of GPTQ's column loop (quant/README.md section 2, steps 5 and 6): for j in order,
   * c_j = w_j + (T_j + Σ_{i<j in block} E_i·L[j,i]) / L[j,j]; Q_j = grid(c_j); E_j = w_j − Q_j.
   */
  gptqBlock(options: GptqBlockOptions): void;

  /**
   * One block of a refinement sweep (section 2, step 9): for j in order with D = W − Q and G = D·H:
   * c = Q_j + G_j/H[j,j]; n = grid(c); δ = n − Q_j; D_j −= δ; G_block −= δ·H[j, block]; code_j = n.
   * A column whose H[j,j] is not positive is left alone.
   */
  refineBlock(options: RefineBlockOptions): void;

  /**
   * Packs codes u8 [N, K] into u32 [N, K·bits/32], undoing the processing order: packed column k is column
   * positionOf[k] of `codes`. positionOf u32 [K].
   */
  packCodes(options: {
    readonly codes: Tensor;
    readonly positionOf: Tensor;
    readonly bits: Bits;
    readonly packed: Tensor;
  }): void;

  /** out f32 [N, K] ← scale·(code − zero). */
  dequantize(options: { readonly weight: AffineWeight; readonly out: MatrixView }): void;
}
