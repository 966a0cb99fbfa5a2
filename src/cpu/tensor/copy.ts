import { f16ToF32 } from '../../core/dtype.js';
import { copyRows } from '../matrix.js';
import type { HalfMatrix, RealMatrix } from '../matrix.js';

/** What a weight may be stored as. */
export type DenseMatrix = RealMatrix | HalfMatrix;

/** Where `values` live and how they spread: bfloat16 is the upper half of a float32. */
interface Widening {
  readonly words: Uint32Array;
  readonly values: Float32Array;
}

/** to ← from element by element; f16 and bf16 convert exactly. */
export function copyMatrix(from: DenseMatrix, to: RealMatrix): void {
  if (!('half' in from)) {
    copyRows(from, to);
    return;
  }
  const values = new Float32Array(from.cols);
  const row: Widening = { values, words: new Uint32Array(values.buffer) };
  for (let i = 0; i < from.rows; i++) {
    const start = from.offset + i * from.stride;
    widenRow(from, start, row);
    to.data.set(row.values, to.offset + i * to.stride);
  }
}

function widenRow(from: HalfMatrix, start: number, row: Widening): void {
  const { data, cols } = from;
  const { words } = row;
  if (from.half === 'bf16') {
    for (let j = 0; j < cols; j++) words[j] = data[start + j] << 16;
    return;
  }
  const { values } = row;
  for (let j = 0; j < cols; j++) values[j] = f16ToF32(data[start + j]);
}
