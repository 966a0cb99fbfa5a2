import type { RealMatrix, Reals } from '../matrix.js';

export interface CodebookDequantizeArgs {
  /** [⌈N·K/2⌉]: two codes a byte, the first in the high nibble. */
  readonly codes: Uint8Array;
  /** [⌈N·K/blockSize⌉]. */
  readonly absmax: Reals;
  /** [16]. */
  readonly table: Reals;
  readonly blockSize: number;
  /** First row of the weight to expand. */
  readonly firstRow: number;
  /** [rows, K]: receives rows firstRow …. */
  readonly out: RealMatrix;
}

/** out ← table[code]·absmax for rows [firstRow, firstRow + out.rows). */
export function codebookDequantize(args: CodebookDequantizeArgs): void {
  const { codes, absmax, table, blockSize, firstRow, out } = args;
  const { data, cols } = out;
  for (let row = 0; row < out.rows; row++) {
    const first = (firstRow + row) * cols;
    const to = out.offset + row * out.stride;
    for (let k = 0; k < cols;) {
      const block = Math.floor((first + k) / blockSize);
      const end = Math.min(cols, (block + 1) * blockSize - first);
      const scale = absmax[block];
      for (; k < end; k++) {
        const index = first + k;
        const low = index % 2;
        const byte = codes[(index - low) / 2];
        data[to + k] = table[low === 0 ? byte >> 4 : byte & 15] * scale;
      }
    }
  }
}
