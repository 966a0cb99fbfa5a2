import type { MatrixView, Tensor } from './tensor.js';

/** Restricts a matrix result to one triangle of a larger square: an element outside it is never written. */
export interface Triangle {
  readonly part: 'upper' | 'lower';
  /**
   * Added to the row index of `c` before comparing with its column index: `upper` keeps row + rowOffset ≤ col,
   * `lower` keeps row + rowOffset ≥ col. Both keep the diagonal.
   */
  readonly rowOffset: number;
}

export interface GemmOptions {
  /** f32; [M, K], or [K, M] with transA. */
  readonly a: MatrixView;
  /** f32; [K, N], or [N, K] with transB. */
  readonly b: MatrixView;
  /** f32; [M, N]. May not overlap a or b. */
  readonly c: MatrixView;
  readonly transA?: boolean;
  /** Never together with transA. */
  readonly transB?: boolean;
  /** Default 1. */
  readonly alpha?: number;
  /** c ← alpha·a·b + beta·c; default 0, and then old values of c (even NaN) do not matter. */
  readonly beta?: 0 | 1;
  readonly triangle?: Triangle;
}

/**
 * Dense linear algebra in the engine's working precision. WebGPU accumulates in f32 registers over the whole K of one
 * call and adds to c once (so callers bound the rounding error by bounding K); order of additions is unspecified but
 * the same for the same call on the same adapter.
 */
export interface LinalgOps {
  gemm(options: GemmOptions): void;

  /**
   * Factors a symmetric block in place: H = Lᵀ·L with L lower triangular (the flipped Cholesky factorisation that GPTQ
   * wants, quant/README.md section 2). Reads and writes only the lower triangle, diagonal included. Size ≤ MAX_BLOCK.
   * A pivot that is not a finite positive number adds 1 to `failures` [1] u32 and is replaced by 1, so that the rest
   * stays finite; the caller reads `failures` once per factorisation.
   */
  choleskyBlock(options: { readonly block: MatrixView; readonly failures: Tensor }): void;

  /**
   * x ← L⁻ᵀ·x in place. `l` is a factored block [n, n] (lower triangle read), x [n, m]. n ≤ MAX_BLOCK.
   */
  solveLeft(options: { readonly l: MatrixView; readonly x: MatrixView }): void;

  /**
   * x ← x·(Lᵀ)⁻¹ in place, that is row by row x_j ← (x_j − Σ_{i<j} x_i·L[j,i]) / L[j,j]. `l` as in solveLeft,
   * x [m, n]. n ≤ MAX_BLOCK.
   */
  solveRight(options: { readonly l: MatrixView; readonly x: MatrixView }): void;

  /**
   * to ← fromᵀ. With `triangle` only those elements of `to` are written; then `from` and `to` may be the same square
   * (mirroring its upper triangle into its strict lower one is race-free because read and written elements differ).
   */
  transpose(options: {
    readonly from: MatrixView;
    readonly to: MatrixView;
    readonly triangle?: Triangle;
  }): void;

  /** x ← x·factor, element by element. */
  scale(options: { readonly x: MatrixView; readonly factor: number; readonly triangle?: Triangle }): void;

  /** Rows: x[i, j] ← x[i, j]·factors[i]; columns: ·factors[j]. factors f32 [rows] or [cols]. */
  scaleLines(options: {
    readonly x: MatrixView;
    readonly factors: Tensor;
    readonly axis: 'rows' | 'columns';
  }): void;

  /** to[i] ← from[i, i]; to is f32 [n]. */
  getDiagonal(options: { readonly from: MatrixView; readonly to: Tensor; readonly toOffset: number }): void;

  /** to[i, i] ← from[fromOffset + i]; from is f32. */
  setDiagonal(options: { readonly from: Tensor; readonly fromOffset: number; readonly to: MatrixView }): void;

  /** to[i] ← to[i] + Σ_j x[i,j]·y[i,j]; to is f32 [rows], x and y may be the same view. */
  addRowDots(options: { readonly x: MatrixView; readonly y: MatrixView; readonly to: Tensor }): void;

  /** Adds to `count` [1] u32 the number of rows of x that hold a NaN or an infinity. */
  countNonFiniteRows(options: { readonly x: MatrixView; readonly count: Tensor }): void;

  /**
   * For benches and self-checks: x[i] ← Σ over k = 0 … 11 of a, where a starts at x[i] + k/16 and runs `rounds` steps
   * a ← a·(1 − 2⁻¹³) + 2⁻¹³. 12·rounds multiply-adds per element and next to no memory traffic. x f32; rounds a multiple of 4.
   */
  multiplyAddChain(options: { readonly x: Tensor; readonly rounds: number }): void;

  /** to ← from element by element, converting f16 and bf16 to f32 exactly. `to` is f32, same rows and cols. */
  copy(options: { readonly from: MatrixView; readonly to: MatrixView }): void;
}

/** Largest block that choleskyBlock, solveLeft, solveRight, gptqBlock and refineBlock take. */
export const MAX_BLOCK = 128;
