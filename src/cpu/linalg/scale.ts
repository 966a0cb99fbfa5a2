import type { Triangle } from '../../engine/linalg.js';
import type { RealMatrix } from '../matrix.js';
import { triangleColumns } from './gemm.js';

/** x ← x·factor on the elements that the triangle lets through. */
export function scale(x: RealMatrix, factor: number, triangle: Triangle | undefined): void {
  for (let i = 0; i < x.rows; i++) {
    const { from, to } = triangleColumns(i, x.cols, triangle);
    const row = x.offset + i * x.stride;
    for (let j = from; j < to; j++) x.data[row + j] *= factor;
  }
}
