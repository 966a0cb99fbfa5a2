/** Round to nearest, for some rows of a layer: GPTQ's yardstick, and a method of its own. */
import type { Engine } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import type { AffineGrid } from '../engine/quant.js';
import { asMatrix, colRange } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';

export interface RtnRows {
  /** [rows, K], any dense dtype. */
  readonly w: MatrixView;
  /** f32 [rows, K]: receives W − Q. */
  readonly error: MatrixView;
  /** u8 [rows, K]: receives the codes. */
  readonly codes: MatrixView;
  readonly grid: AffineGrid;
  /** u32 [K]: group of each column as ordered in w. */
  readonly groupOf: Tensor;
}

export function rtnRows(engine: Engine, job: RtnRows): void {
  const { w } = job;
  const scratch = engine.create([w.rows, Math.min(MAX_BLOCK, w.cols)], 'f32', 'rtn block');
  for (let start = 0; start < w.cols; start += MAX_BLOCK) {
    const cols = Math.min(MAX_BLOCK, w.cols - start);
    const block = colRange(asMatrix(scratch), 0, cols);
    engine.copy({ from: colRange(w, start, cols), to: block });
    engine.quantizeNearest({
      ...job.grid,
      w: block,
      groupOf: job.groupOf,
      firstColumn: start,
      codes: colRange(job.codes, start, cols),
      error: colRange(job.error, start, cols),
    });
  }
  engine.free(scratch);
}
