import { Bug } from '../../core/errors.js';
import type { RealMatrix } from '../matrix.js';
import { matrixRows } from '../matrix.js';
import { copyMatrix } from '../tensor/copy.js';
import type { DenseMatrix } from '../tensor/copy.js';

/** out[i] ← table[tokens[i]], the table cut into panels of rows. out [n, D]. */
export function embed(tokens: Uint32Array, panels: readonly DenseMatrix[], out: RealMatrix): void {
  for (let i = 0; i < out.rows; i++) {
    let row = tokens[i];
    let panel = 0;
    while (panel < panels.length && row >= panels[panel].rows) {
      row -= panels[panel].rows;
      panel++;
    }
    if (panel === panels.length)
      throw new Bug(`internal: token ${tokens[i]} lies outside the embedding table`);
    const source = panels[panel];
    copyMatrix({ ...source, rows: 1, offset: source.offset + row * source.stride }, matrixRows(out, i, 1));
  }
}
