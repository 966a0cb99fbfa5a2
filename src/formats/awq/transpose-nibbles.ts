/**
 * Transposes a matrix of 4-bit codes kept eight to a word. Both sides are packed along their rows, so 8 × 8 codes are 8
 * words on either side and turn in three rounds of swaps, without unpacking (Warren, Hacker's Delight, 7-3).
 */

/** Result words per tile row: 64 bytes, a cache line. */
const TILE = 16;

export interface NibbleMatrix {
  /** Codes per column; a multiple of 8. */
  readonly rows: number;
  /** Codes per row; a multiple of 8. */
  readonly cols: number;
}

/** Where the eight rows of a block lie. Transposing row `order[i]` of each eight as if it were the i-th permutes codes. */
export type RowOrder = readonly [number, number, number, number, number, number, number, number];

/**
 * `from` [rows, cols/8] → result [cols, rows/8]. Nibble i of a result word holds the code of source row 8c + fromOrder[i],
 * c being the word's column; nibble j of a source word goes to result row 8w + toOrder[j], w likewise.
 */
export function transposeNibbles(
  from: Uint32Array,
  { rows, cols }: NibbleMatrix,
  fromOrder: RowOrder,
  toOrder: RowOrder,
): Uint32Array {
  const to = new Uint32Array(from.length);
  const [fromPitch, toPitch] = [cols / 8, rows / 8];
  const fromRows = Int32Array.from(fromOrder, (row) => row * fromPitch);
  const tileRows = Int32Array.from(toOrder, (row) => row * TILE);
  // Rows of either matrix lie powers of two apart, which the cache cannot hold together; so results gather here first.
  const tile = new Uint32Array(8 * TILE * TILE);
  for (let c0 = 0; c0 < toPitch; c0 += TILE) {
    const width = Math.min(TILE, toPitch - c0);
    for (let w0 = 0; w0 < fromPitch; w0 += TILE) {
      const height = Math.min(TILE, fromPitch - w0);
      for (let c = 0; c < width; c++) {
        const source = 8 * (c0 + c) * fromPitch + w0;
        for (let w = 0; w < height; w++)
          transposeBlock(from, fromRows, source + w, tile, tileRows, 8 * TILE * w + c);
      }
      for (let row = 0; row < 8 * height; row++) {
        const target = (8 * w0 + row) * toPitch + c0;
        for (let c = 0; c < width; c++) to[target + c] = tile[row * TILE + c];
      }
    }
  }
  return to;
}

/** Eight words of eight nibbles: nibble j of word i changes places with nibble i of word j. */
function transposeBlock(
  from: Uint32Array,
  rows: Int32Array,
  source: number,
  to: Uint32Array,
  toRows: Int32Array,
  target: number,
): void {
  let w0 = from[source + rows[0]] | 0;
  let w1 = from[source + rows[1]] | 0;
  let w2 = from[source + rows[2]] | 0;
  let w3 = from[source + rows[3]] | 0;
  let w4 = from[source + rows[4]] | 0;
  let w5 = from[source + rows[5]] | 0;
  let w6 = from[source + rows[6]] | 0;
  let w7 = from[source + rows[7]] | 0;
  let low = w0;
  // Halves of words, then bytes of halves, then nibbles of bytes.
  w0 = (low & 0xffff) | (w4 << 16);
  w4 = (low >>> 16) | (w4 & 0xffff0000);
  low = w1;
  w1 = (low & 0xffff) | (w5 << 16);
  w5 = (low >>> 16) | (w5 & 0xffff0000);
  low = w2;
  w2 = (low & 0xffff) | (w6 << 16);
  w6 = (low >>> 16) | (w6 & 0xffff0000);
  low = w3;
  w3 = (low & 0xffff) | (w7 << 16);
  w7 = (low >>> 16) | (w7 & 0xffff0000);
  transposeHalves(w0, w1, w2, w3, to, target, toRows[0], toRows[1], toRows[2], toRows[3]);
  transposeHalves(w4, w5, w6, w7, to, target, toRows[4], toRows[5], toRows[6], toRows[7]);
}

/** Four words of eight nibbles in two 4 × 4 blocks each. */
function transposeHalves(
  a: number,
  b: number,
  c: number,
  d: number,
  to: Uint32Array,
  target: number,
  row0: number,
  row1: number,
  row2: number,
  row3: number,
): void {
  const ac = (a & 0x00ff00ff) | ((c & 0x00ff00ff) << 8);
  const ca = ((a >>> 8) & 0x00ff00ff) | (c & 0xff00ff00);
  const bd = (b & 0x00ff00ff) | ((d & 0x00ff00ff) << 8);
  const db = ((b >>> 8) & 0x00ff00ff) | (d & 0xff00ff00);
  to[target + row0] = (ac & 0x0f0f0f0f) | ((bd & 0x0f0f0f0f) << 4);
  to[target + row1] = ((ac >>> 4) & 0x0f0f0f0f) | (bd & 0xf0f0f0f0);
  to[target + row2] = (ca & 0x0f0f0f0f) | ((db & 0x0f0f0f0f) << 4);
  to[target + row3] = ((ca >>> 4) & 0x0f0f0f0f) | (db & 0xf0f0f0f0);
}
