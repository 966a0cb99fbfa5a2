/**
 * Cyclic coordinate descent on the codes after GPTQ (quant/README.md section 2, step 9), a block of columns at a time:
 * the gradient D·H[:, block] is a matrix product, the columns inside a block follow one another. Uses the undamped H.
 * Memory beyond its arguments: rows·2·MAX_BLOCK elements.
 */
import type { Engine } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { TensorScope } from '../engine/panels.js';
import { asMatrix, colRange } from '../engine/tensor.js';
import type { MatrixView } from '../engine/tensor.js';
import type { GptqRows } from './gptq.js';
import type { Hessian } from './hessian.js';
import { mirroredBlock, residualGradient, uploadDiagonal } from './residual-gradient.js';

/** Runs `sweeps` sweeps over job.error and job.codes, both in processing order. */
export function refineRows(
  engine: Engine,
  hessian: Hessian,
  job: Pick<GptqRows, 'w' | 'error' | 'codes' | 'grid' | 'groupOf'>,
  sweeps: number,
): void {
  const { square } = hessian;
  const width = Math.min(MAX_BLOCK, square.size);
  const scope = new TensorScope(engine);
  const matrix = (rows: number, label: string): MatrixView => asMatrix(scope.create([rows, width], label));
  try {
    const diagonal = scope.own(uploadDiagonal(engine, hessian));
    const mirror = matrix(width, 'refine block of H');
    const gradients = matrix(job.w.rows, 'refine gradient');
    const weights = matrix(job.w.rows, 'refine block');
    for (let sweep = 0; sweep < sweeps; sweep++)
      for (let start = 0; start < square.size; start += MAX_BLOCK) {
        const cols = Math.min(MAX_BLOCK, square.size - start);
        const block = { start, end: start + cols };
        const h = mirroredBlock(engine, square, block, diagonal, mirror);
        const gradient = colRange(gradients, 0, cols);
        residualGradient(engine, square, { d: job.error, block, h, gradient });
        const w = colRange(weights, 0, cols);
        engine.copy({ from: colRange(job.w, start, cols), to: w });
        engine.refineBlock({
          ...job.grid,
          w,
          gradient,
          h,
          diagonal,
          groupOf: job.groupOf,
          firstColumn: start,
          error: colRange(job.error, start, cols),
          codes: colRange(job.codes, start, cols),
        });
      }
  } finally {
    scope.dispose();
  }
}
