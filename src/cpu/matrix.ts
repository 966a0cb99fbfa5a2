/** Memory of an `f32` tensor on the cpu engine: float64 for the oracle, float32 for the working engine. */
export type Reals = Float64Array | Float32Array;

/**
 * A rectangle of host memory: element (i, j) is `data[offset + i * stride + j]`. The form in which every operation of
 * the cpu engine receives its operands; offsets and strides in elements.
 */
export interface Matrix<T> {
  readonly data: T;
  readonly rows: number;
  readonly cols: number;
  readonly offset: number;
  readonly stride: number;
}

export type RealMatrix = Matrix<Reals>;
export type ByteMatrix = Matrix<Uint8Array>;

/** Float16 or bfloat16 weights as raw bits. */
export interface HalfMatrix extends Matrix<Uint16Array> {
  readonly half: 'f16' | 'bf16';
}

/** A whole array as a matrix of `cols` columns. */
export function wholeMatrix<T extends ArrayLike<number>>(data: T, cols: number): Matrix<T> {
  return { data, rows: cols === 0 ? 0 : data.length / cols, cols, offset: 0, stride: cols };
}

/** Rows [start, start + rows) of a matrix. */
export function matrixRows<T>(matrix: Matrix<T>, start: number, rows: number): Matrix<T> {
  return { ...matrix, rows, offset: matrix.offset + start * matrix.stride };
}

/** Columns [start, start + cols) of a matrix. */
export function matrixCols<T>(matrix: Matrix<T>, start: number, cols: number): Matrix<T> {
  return { ...matrix, cols, offset: matrix.offset + start };
}

/** New zeroed memory of the same precision as `like`. */
export function realsLike(like: Reals, length: number): Reals {
  return like instanceof Float64Array ? new Float64Array(length) : new Float32Array(length);
}

/** Columns up to which an element loop copies a row faster than a call of `set`. */
const SHORT_ROW = 192;

/**
 * Copies rows × cols elements between strided memories; converts between precisions. The memories may be the same
 * where the rectangles do not overlap.
 */
export function copyRows(from: RealMatrix, to: RealMatrix): void {
  const { rows, cols } = from;
  const source = from.data;
  const target = to.data;
  if (from.stride === cols && to.stride === cols) {
    target.set(source.subarray(from.offset, from.offset + rows * cols), to.offset);
    return;
  }
  for (let i = 0; i < rows; i++) {
    const start = from.offset + i * from.stride;
    const at = to.offset + i * to.stride;
    if (cols > SHORT_ROW) target.set(source.subarray(start, start + cols), at);
    else for (let j = 0; j < cols; j++) target[at + j] = source[start + j];
  }
}

/** Copies a matrix into `to` row after row without gaps, starting at element 0. */
export function packMatrix(from: RealMatrix, to: Reals): void {
  copyRows(from, { data: to, rows: from.rows, cols: from.cols, offset: 0, stride: from.cols });
}

/** Copies rows without gaps back into a matrix. */
export function unpackMatrix(from: Reals, to: RealMatrix): void {
  copyRows({ data: from, rows: to.rows, cols: to.cols, offset: 0, stride: to.cols }, to);
}
