/** Rows and columns per block: 32 × 32 words are 4 KB on each side, both within the first cache. */
const BLOCK = 32;

interface Elements {
  [index: number]: number;
}

/** Writes the transpose of `from` [rows, cols] into `to` [cols, rows], block by block so that neither side misses cache. */
export function transpose(from: Readonly<Elements>, to: Elements, rows: number, cols: number): void {
  for (let row0 = 0; row0 < rows; row0 += BLOCK) {
    const rowEnd = Math.min(rows, row0 + BLOCK);
    for (let col0 = 0; col0 < cols; col0 += BLOCK) {
      const colEnd = Math.min(cols, col0 + BLOCK);
      for (let col = col0; col < colEnd; col++) {
        for (let row = row0; row < rowEnd; row++) to[col * rows + row] = from[row * cols + col];
      }
    }
  }
}
