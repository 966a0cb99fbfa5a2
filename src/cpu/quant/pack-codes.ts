import type { Bits } from '../../engine/quant.js';
import type { ByteMatrix } from '../matrix.js';

/**
 * packed [N, K·bits/32] ← codes [N, K] as one dense bit stream a row, least significant bits first; packed column k is
 * column positionOf[k] of codes.
 */
export function packCodes(codes: ByteMatrix, positionOf: Uint32Array, bits: Bits, packed: Uint32Array): void {
  const cols = codes.cols;
  const words = (cols * bits) / 32;
  for (let i = 0; i < codes.rows; i++) {
    const from = codes.offset + i * codes.stride;
    let word = i * words;
    let filled = 0;
    let pending = 0;
    for (let k = 0; k < cols; k++) {
      const code = codes.data[from + positionOf[k]];
      pending |= code << filled;
      filled += bits;
      if (filled < 32) continue;
      packed[word++] = pending;
      filled -= 32;
      // What did not fit into the word; a shift by 32 would shift by 0.
      pending = filled === 0 ? 0 : code >>> (bits - filled);
    }
  }
}
