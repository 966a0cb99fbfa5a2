import { Bug } from '../core/errors.js';
import { product } from '../core/dims.js';

/**
 * Element types a tensor can have on an engine.
 *
 * - `f32`: working real numbers. WebGPU keeps float32; the cpu engine keeps its own precision (float64 for the
 *   oracle), so a pipeline on the oracle never rounds to float32.
 * - `f16`, `bf16`: weights exactly as the checkpoint stores them, converted inside the kernels.
 * - `u32`: token ids, packed code words, permutations, counters.
 * - `u8`: unpacked codes, one byte each.
 */
export type TensorDType = 'f32' | 'f16' | 'bf16' | 'u32' | 'u8';

export const TENSOR_DTYPE_BYTES: Readonly<Record<TensorDType, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  u32: 4,
  u8: 1,
};

/**
 * An opaque handle to row-major memory owned by one engine. The creator frees it (`engine.free`); using a freed
 * tensor is a Bug error. `label` is a name for error messages and reports.
 */
export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: TensorDType;
  readonly label: string;
}

/** A dense weight as stored in a checkpoint: [N, K]. */
export type DenseDType = 'f32' | 'f16' | 'bf16';

/**
 * A rectangle inside a tensor: element (i, j) lies at `offset + i * stride + j`. Offsets and strides are in elements,
 * so a view may start anywhere; views of one tensor may overlap only when both are read.
 */
export interface MatrixView {
  readonly tensor: Tensor;
  readonly rows: number;
  readonly cols: number;
  /** First element, in elements from the start of the tensor. */
  readonly offset: number;
  /** Elements from one row to the next, ≥ cols. */
  readonly stride: number;
}

export function elementCount(tensor: Tensor): number {
  return product(tensor.shape);
}

/** The whole tensor as a matrix: all leading dimensions folded into rows. */
export function asMatrix(tensor: Tensor): MatrixView {
  const cols = tensor.shape.length === 0 ? 1 : tensor.shape[tensor.shape.length - 1];
  const rows = cols === 0 ? 0 : elementCount(tensor) / cols;
  return { tensor, rows, cols, offset: 0, stride: cols };
}

/** The rectangle [row, row + rows) × [col, col + cols) of a matrix. */
export function subMatrix(
  view: MatrixView,
  row: number,
  rows: number,
  col: number,
  cols: number,
): MatrixView {
  if (row < 0 || col < 0 || rows < 0 || cols < 0 || row + rows > view.rows || col + cols > view.cols)
    throw new Bug(
      `internal: rectangle ${row}+${rows} × ${col}+${cols} leaves ${view.tensor.label} [${view.rows}, ${view.cols}]`,
    );
  return {
    tensor: view.tensor,
    rows,
    cols,
    offset: view.offset + row * view.stride + col,
    stride: view.stride,
  };
}

/** Rows [row, row + rows) of a matrix, all columns. */
export function rowRange(view: MatrixView, row: number, rows: number): MatrixView {
  return subMatrix(view, row, rows, 0, view.cols);
}

/** Columns [col, col + cols) of a matrix, all rows. */
export function colRange(view: MatrixView, col: number, cols: number): MatrixView {
  return subMatrix(view, 0, view.rows, col, cols);
}
