import { CODEBOOKS } from '../../core/codebooks.js';
import type { CodebookName } from '../../core/quantized-linear.js';

export interface CodebookTables {
  /** [15] ascending: midpoints of neighbouring table values, as float32. */
  readonly bounds: Float32Array;
  /** [16]: codes in the order of their values. */
  readonly order: Uint8Array;
}

/** What decides a code: it is order[number of bounds below the number]. */
export function codebookTables(codebook: CodebookName): CodebookTables {
  const table = CODEBOOKS[codebook];
  // Equal values (FP4's two zeros) in the order of their codes.
  const order = Uint8Array.from(Array.from(table.keys()).sort((a, b) => table[a] - table[b] || a - b));
  const bounds = new Float32Array(order.length - 1);
  for (let i = 0; i < bounds.length; i++) bounds[i] = (table[order[i]] + table[order[i + 1]]) / 2;
  return { bounds, order };
}
