import { CODEBOOKS } from '../../core/codebooks.js';
import type { CodebookName } from '../../core/quantized-linear.js';

/** Cells that [−1, 1] is cut into: narrower than any two thresholds lie apart (FP4's 0.0026), so none holds two. */
const CELLS = 1024;

/**
 * How a number p in [−1, 1] becomes a code: c = ⌊(p + 1)·scale⌋ is its cell; the code is above[c] where
 * p > threshold[c], else below[c]. One comparison decides, and p may be an unrounded product: the thresholds say how
 * it would round to float32.
 */
export interface CodebookDecisions {
  /** Cells per unit. */
  readonly scale: number;
  readonly threshold: Float64Array;
  readonly below: Uint8Array;
  readonly above: Uint8Array;
  readonly zeroCode: number;
}

export const CODEBOOK_DECISIONS: Readonly<Record<CodebookName, CodebookDecisions>> = {
  nf4: decisionsOf(CODEBOOKS.nf4),
  fp4: decisionsOf(CODEBOOKS.fp4),
};

/** Codes in the order of their values, equal values (FP4's two zeros) in the order of their codes. */
function sortedCodes(table: Float32Array): number[] {
  return Array.from(table.keys()).sort((a, b) => table[a] - table[b] || a - b);
}

function decisionsOf(table: Float32Array): CodebookDecisions {
  const order = sortedCodes(table);
  const bounds = order.slice(1).map((code, i) => Math.fround((table[order[i]] + table[code]) / 2));
  const scale = CELLS / 2;
  const cellOf = (p: number): number => Math.floor((p + 1) * scale);
  // Room for 1 itself and for quotients that round to just above it.
  const threshold = new Float64Array(CELLS + 2).fill(Infinity);
  const below = new Uint8Array(CELLS + 2).fill(order[0]);
  const above = below.slice();
  bounds.forEach((bound, i) => {
    const limit = lastRoundingTo(bound);
    const cell = cellOf(limit);
    threshold[cell] = limit;
    above[cell] = order[i + 1];
    below.fill(order[i + 1], cell + 1);
    above.fill(order[i + 1], cell + 1);
  });
  return { scale, threshold, below, above, zeroCode: order[bounds.filter((bound) => bound < 0).length] };
}

/** The largest float64 that rounds to `bound` or below it in float32, halves to even. */
function lastRoundingTo(bound: number): number {
  const [bits] = new Uint32Array(Float32Array.of(bound).buffer);
  const next = bound === 0 ? 2 ** -149 : neighbour(bits, bound > 0 ? 1 : -1);
  const middle = (bound + next) / 2;
  return (bits & 1) === 0 ? middle : float64Below(middle);
}

function neighbour(bits: number, step: number): number {
  return new Float32Array(Uint32Array.of(bits + step).buffer)[0];
}

function float64Below(value: number): number {
  const bits = new BigInt64Array(Float64Array.of(value).buffer);
  bits[0] += value > 0 ? -1n : 1n;
  return new Float64Array(bits.buffer)[0];
}
