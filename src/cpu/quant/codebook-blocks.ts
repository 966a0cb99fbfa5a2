import type { CodebookName } from '../../core/quantized-linear.js';
import type { DenseDType } from '../../engine/tensor.js';
import type { ByteMatrix, Matrix, RealMatrix } from '../matrix.js';
import { codebookQuantize } from './codebook-quantize.js';

export interface CodebookBlocksArgs {
  /** [blocks, block size] without gaps: numbers, or the bits of float16 and bfloat16. */
  readonly w: RealMatrix | Matrix<Uint16Array>;
  readonly dtype: DenseDType;
  readonly codebook: CodebookName;
  /** [blocks, block size/2] without gaps. */
  readonly codes: ByteMatrix;
  /** [blocks, 1] without gaps. */
  readonly absmax: RealMatrix;
}

/** Whole blocks onto a codebook as rows of a matrix, so that threads can share them; see codebookQuantize. */
export function codebookBlocks({ w, dtype, codebook, codes, absmax }: CodebookBlocksArgs): void {
  codebookQuantize({
    w: w.data.subarray(w.offset, w.offset + w.rows * w.cols),
    dtype,
    codebook,
    blockSize: w.cols,
    codes: codes.data.subarray(codes.offset, codes.offset + codes.rows * codes.cols),
    absmax: absmax.data.subarray(absmax.offset, absmax.offset + absmax.rows),
  });
}
