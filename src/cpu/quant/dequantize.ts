import type { Bits } from '../../engine/quant.js';
import type { RealMatrix } from '../matrix.js';

export interface DequantizeArgs {
  readonly bits: Bits;
  /** [N, G]. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  /** [N, K·bits/32]: a dense bit stream a row, least significant bits first. */
  readonly codes: Uint32Array;
  /** [K]. */
  readonly groupOf: Uint32Array;
  /** First row of the weight to expand. */
  readonly firstRow: number;
  /** [rows, K]: receives rows firstRow …. */
  readonly out: RealMatrix;
}

/** out ← scale·(code − zero) for rows [firstRow, firstRow + out.rows). */
export function dequantize(args: DequantizeArgs): void {
  const { bits, scales, zeros, codes, groupOf, firstRow, out } = args;
  const cols = out.cols;
  const words = (cols * bits) / 32;
  const mask = 2 ** bits - 1;
  for (let i = 0; i < out.rows; i++) {
    const row = firstRow + i;
    const scaleRow = scales.offset + row * scales.stride;
    const zeroRow = zeros.offset + row * zeros.stride;
    const to = out.offset + i * out.stride;
    for (let k = 0, bit = 0, word = row * words; k < cols; k++) {
      let code = codes[word] >>> bit;
      bit += bits;
      if (bit >= 32) {
        bit -= 32;
        word++;
        // The part of a code that straddles into the next word.
        if (bit > 0) code |= codes[word] << (bits - bit);
      }
      const group = groupOf[k];
      out.data[to + k] = scales.data[scaleRow + group] * ((code & mask) - zeros.data[zeroRow + group]);
    }
  }
}
