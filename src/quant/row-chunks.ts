/**
 * Rows of a weight are independent once the Hessian is factored, so a big layer is quantized some rows at a time: the
 * working memory on the engine stays near WORK_BYTES and the result is the same.
 */
import { UserError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { asMatrix, rowRange } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';

/** Working memory aimed at, in bytes, for one chunk of rows. */
export const WORK_BYTES = 64 * 1024 * 1024;
const ROW_MULTIPLE = 32;

export interface RowChunk {
  /** First row of the weight. */
  readonly first: number;
  readonly rows: number;
}

/** Chunks of at most `workBytes` at `bytesPerRow` each, at least ROW_MULTIPLE rows. */
export function planRowChunks(
  rows: number,
  bytesPerRow: number,
  elemsPerRow: number,
  limits: { readonly workBytes: number; readonly maxTensorBytes: number },
): RowChunk[] {
  const fitting = Math.floor(limits.maxTensorBytes / (elemsPerRow * 4));
  if (fitting < 1)
    throw new UserError(
      `one weight row of ${elemsPerRow * 4} bytes exceeds the device's largest tensor of ${limits.maxTensorBytes} bytes`,
      { advice: 'choose another device with --device, for example --device cpu' },
    );
  const wanted = Math.floor(limits.workBytes / bytesPerRow / ROW_MULTIPLE) * ROW_MULTIPLE;
  const step = Math.min(Math.max(wanted, ROW_MULTIPLE), fitting);
  const chunks: RowChunk[] = [];
  for (let first = 0; first < rows; first += step) chunks.push({ first, rows: Math.min(step, rows - first) });
  return chunks;
}

/** Rows of a dense weight, in the checkpoint's dtype. */
export interface WeightRows {
  readonly view: MatrixView;
  /** A copy the caller frees; undefined when `view` looks into the weight itself. */
  readonly owned: Tensor | undefined;
}

/**
 * Rows [first, first + rows) of `weight` with columns in processing order and dead columns zero. Goes by way of the
 * host (rows·K elements) only where there is something to permute or zero.
 */
export async function weightRows(
  engine: Engine,
  weight: Tensor,
  chunk: RowChunk,
  columns: { readonly order: Uint32Array | undefined; readonly dead: readonly number[] },
): Promise<WeightRows> {
  const { order, dead } = columns;
  const whole = asMatrix(weight);
  if (order === undefined && dead.length === 0)
    return { view: rowRange(whole, chunk.first, chunk.rows), owned: undefined };
  const size = whole.cols;
  const host = await engine.read(weight, chunk.first * size, chunk.rows * size);
  const arranged = host.slice();
  for (let base = 0; base < arranged.length; base += size) {
    for (const column of dead) host[base + column] = 0;
    if (order === undefined) arranged.set(host.subarray(base, base + size), base);
    else
      for (let position = 0; position < size; position++)
        arranged[base + position] = host[base + order[position]];
  }
  const owned = engine.upload(arranged, [chunk.rows, size], weight.dtype, `${weight.label} arranged`);
  return { view: asMatrix(owned), owned };
}
