import type { Matrix } from '../matrix.js';

/** Side of the square moved at a time: 32 rows of 32 floats are 32·2 cache lines on either side. */
const TILE = 32;

/** Columns of a matrix one after another without gaps: to[j·rows + i] ← from[i, j]. */
export function packTransposed(from: Matrix<Float32Array>, to: Float32Array): void {
  const { data, rows, cols, offset, stride } = from;
  for (let row = 0; row < rows; row += TILE) {
    const endRow = Math.min(rows, row + TILE);
    for (let col = 0; col < cols; col += TILE) {
      const endCol = Math.min(cols, col + TILE);
      for (let j = col; j < endCol; j++) {
        let source = offset + row * stride + j;
        const target = j * rows;
        for (let i = row; i < endRow; i++, source += stride) to[target + i] = data[source];
      }
    }
  }
}
