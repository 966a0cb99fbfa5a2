import { ropeFrequencies } from '../../model/rope.js';
import type { ModelConfig } from '../../model/types.js';

/** Rows per piece: a megabyte or so at head size 128. */
const ROWS = 4096;

/** cos or sin of every position of the context, f32 [rows, E/2] in pieces, the attention factor multiplied in. */
export function* ropeTableRows(config: ModelConfig, part: 'cos' | 'sin'): Generator<Float32Array> {
  const { inverse, attentionFactor } = ropeFrequencies(config.rope);
  const pairs = inverse.length;
  const of = part === 'cos' ? Math.cos : Math.sin;
  for (let first = 0; first < config.maxPositionEmbeddings; first += ROWS) {
    const rows = Math.min(ROWS, config.maxPositionEmbeddings - first);
    const table = new Float32Array(rows * pairs);
    for (let row = 0; row < rows; row++)
      for (let pair = 0; pair < pairs; pair++)
        table[row * pairs + pair] = of((first + row) * inverse[pair]) * attentionFactor;
    yield table;
  }
}
