import type { Triangle } from '../../engine/linalg.js';
import type { RealMatrix } from '../matrix.js';
import { triangleColumns } from './gemm.js';

/** Side of the square that is moved at a time, so that both sides stay in the first-level cache. */
const TILE = 32;

/**
 * to ← fromᵀ, only the triangle's elements of `to` where one is given; then both may be the same square, because the
 * elements read and written differ. from [R, C], to [C, R].
 */
export function transpose(from: RealMatrix, to: RealMatrix, triangle: Triangle | undefined): void {
  for (let row = 0; row < to.rows; row += TILE)
    for (let col = 0; col < to.cols; col += TILE)
      for (let i = row; i < Math.min(to.rows, row + TILE); i++) {
        const limits = triangleColumns(i, to.cols, triangle);
        const end = Math.min(limits.to, col + TILE);
        const target = to.offset + i * to.stride;
        for (let j = Math.max(limits.from, col); j < end; j++)
          to.data[target + j] = from.data[from.offset + j * from.stride + i];
      }
}
