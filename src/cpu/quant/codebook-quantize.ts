import { f16ToF32 } from '../../core/dtype.js';
import type { CodebookName } from '../../core/quantized-linear.js';
import type { DenseDType } from '../../engine/tensor.js';
import type { Reals } from '../matrix.js';
import type { CodebookDecisions } from './codebook-decisions.js';
import { CODEBOOK_DECISIONS } from './codebook-decisions.js';

export interface CodebookQuantizeArgs {
  /** Elements of the matrix from a block's start on, f16 and bf16 as raw bits. */
  readonly w: Reals | Uint16Array;
  readonly dtype: DenseDType;
  readonly codebook: CodebookName;
  readonly blockSize: number;
  /** [⌈w.length/2⌉], receives two codes a byte, the first in the high nibble. */
  readonly codes: Uint8Array;
  /** [⌈w.length/blockSize⌉]. */
  readonly absmax: Reals;
}

/** What 1/absmax is taken of at least. */
const LEAST_ABSMAX = Math.fround(1e-38);
/** A float16's bits moved up by 13 are the float32 of its value times 2^−112. */
const F16_UNIT = 2 ** 112;

/** One block as float32 with the largest magnitude in it. */
interface Block {
  readonly words: Uint32Array;
  readonly values: Float32Array;
}

/**
 * Codes and absmax of whole blocks and of a short last one, see CodebookOps.codebookQuantize. One pass over the elements and
 * one block of scratch. Element times reciprocal is exact in float64, so one comparison decides as float32 would.
 */
export function codebookQuantize(args: CodebookQuantizeArgs): void {
  const { w, dtype, codebook, blockSize, codes, absmax } = args;
  const decisions = CODEBOOK_DECISIONS[codebook];
  const values = new Float32Array(blockSize + 1);
  const block: Block = { values, words: new Uint32Array(values.buffer) };
  const unit = dtype === 'f16' ? F16_UNIT : 1;
  for (let start = 0, index = 0; start < w.length; start += blockSize, index++) {
    const size = Math.min(blockSize, w.length - start);
    const largest = takeBlock(w, dtype, start, size, block);
    if (size === blockSize) {
      absmax[index] = largest;
      const factor = Math.fround(1 / Math.max(largest, LEAST_ABSMAX)) * unit;
      writeCodes(values, factor, size, decisions, codes, start / 2);
    } else {
      absmax[index] = Math.max(largest, LEAST_ABSMAX);
      for (let i = 0; i < size; i++) values[i] = (values[i] * unit) / absmax[index];
      values[size] = 0;
      writeCodes(values, 1, size, decisions, codes, start / 2);
    }
  }
}

/** Widens a block (float16 short of its unit) and returns its largest magnitude; NaN where there is one. */
function takeBlock(
  w: Reals | Uint16Array,
  dtype: DenseDType,
  start: number,
  size: number,
  { words, values }: Block,
): number {
  let top = 0;
  if (dtype === 'bf16') {
    for (let i = 0; i < size; i++) {
      const bits = w[start + i];
      const magnitude = bits & 0x7fff;
      if (magnitude > top) top = magnitude;
      words[i] = bits << 16;
    }
    top <<= 16;
  } else if (dtype === 'f16') {
    for (let i = 0; i < size; i++) {
      const bits = w[start + i];
      const magnitude = bits & 0x7fff;
      if (magnitude > top) top = magnitude;
      words[i] = ((bits & 0x8000) << 16) | (magnitude << 13);
    }
    return f16ToF32(top);
  } else {
    for (let i = 0; i < size; i++) {
      values[i] = w[start + i];
      const magnitude = words[i] & 0x7fffffff;
      if (magnitude > top) top = magnitude;
    }
  }
  return floatOf(top, values, words, size);
}

/** The float32 with these bits, by way of the scratch element behind the block. */
function floatOf(bits: number, values: Float32Array, words: Uint32Array, spare: number): number {
  words[spare] = bits;
  return values[spare];
}

function writeCodes(
  values: Float32Array,
  factor: number,
  size: number,
  { scale, threshold, below, above, zeroCode }: CodebookDecisions,
  codes: Uint8Array,
  at: number,
): void {
  for (let i = 0; i < size; i += 2) {
    const p = values[i] * factor;
    const cell = ((p + 1) * scale) | 0;
    const first = p > threshold[cell] ? above[cell] : below[cell];
    const q = values[i + 1] * factor;
    const pair = ((q + 1) * scale) | 0;
    const second = q > threshold[pair] ? above[pair] : below[pair];
    codes[at++] = (first << 4) | second;
  }
  if (size % 2 === 1) codes[at - 1] = (codes[at - 1] & 0xf0) | zeroCode;
}
