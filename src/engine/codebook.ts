import type { CodebookName } from '../core/quantized-linear.js';
import type { MatrixView, Tensor } from './tensor.js';

/** Elements per block that bitsandbytes and this engine know. */
export const CODEBOOK_BLOCK_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;

/**
 * A weight [N, K] of 4-bit codes into a table, as kept on an engine and used by `linear`:
 * value i of the flattened matrix = table[code i]·absmax[⌊i / blockSize⌋]; blocks run straight through row ends.
 */
export interface CodebookWeight {
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  /** A power of two, 32 … 4096. */
  readonly blockSize: number;
  /** u8 [⌈N·K/2⌉]: two codes a byte, the first in the high nibble. */
  readonly codes: Tensor;
  /** f32 [⌈N·K/blockSize⌉]. */
  readonly absmax: Tensor;
  /** f32 [16]. */
  readonly table: Tensor;
}

export interface CodebookQuantizeOptions {
  /** f32, f16 or bf16, read as one row-major run of elements. They must be finite. */
  readonly w: Tensor;
  /** First element, a multiple of blockSize; default 0. */
  readonly first?: number;
  /** Elements to quantize, at least 1; default all from `first` on. Whole blocks, except where the matrix ends. */
  readonly count?: number;
  readonly codebook: CodebookName;
  readonly blockSize: number;
  /** u8 [⌈count/2⌉] or more. The nibble after an odd count is the code of 0; bytes behind, up to a multiple of 4, are unspecified. */
  readonly codes: Tensor;
  /** f32 [⌈count/blockSize⌉] or more. */
  readonly absmax: Tensor;
}

/** Quantization onto a codebook scaled by the largest magnitude of each block (QLoRA, arXiv 2305.14314, section 3). */
export interface CodebookOps {
  /**
   * Codes and absmax, bit for bit those of bitsandbytes (backends/default/ops.py, quantize_4bit), denormals included:
   * absmax = max|w|; y = f32(w·f32(1/max(absmax, 1e-38))); the code is the number of midpoints of neighbouring table
   * values below y, in the order of those values. A short last block divides instead: absmax = max(max|w|, 1e-38),
   * y = f32(w/absmax).
   */
  codebookQuantize(options: CodebookQuantizeOptions): void;

  /** out f32 [N, K] ← table[code]·absmax. */
  codebookDequantize(options: { readonly weight: CodebookWeight; readonly out: MatrixView }): void;
}
