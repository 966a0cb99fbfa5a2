/** One worker's share of a row-wise operation: its rows copied into shared memory, and the results copied back. */
import type { Matrix } from '../../../cpu/matrix.js';
import type { RowAccess } from '../../../cpu/row-kernels.js';

type Elements = Float32Array | Float64Array | Uint32Array | Uint16Array | Uint8Array;
type AnyMatrix = Matrix<Elements>;

/** The operands of an operation that are cut by rows, by argument name. */
export type RowOperands = readonly (readonly [name: string, matrix: AnyMatrix, access: RowAccess])[];

/** Every operand starts at a multiple of this. */
const ALIGN_BYTES = 8;

/** Picks the operands that are cut by rows out of a kernel's arguments. */
export function rowOperands(
  args: Readonly<Record<string, unknown>>,
  access: Readonly<Record<string, RowAccess | undefined>>,
): RowOperands {
  return Object.entries(access).map(
    ([name, how]) => [name, args[name] as AnyMatrix, how ?? 'inout'] as const,
  );
}

/** Bytes of shared memory that `rows` rows of the operands need. */
export function shareBytes(operands: RowOperands, rows: number): number {
  return operands.reduce((sum, [, matrix]) => sum + (isShared(matrix) ? 0 : operandBytes(matrix, rows)), 0);
}

/** Whether every thread sees the operand where it is. */
function isShared({ data }: AnyMatrix): boolean {
  return data.buffer instanceof SharedArrayBuffer;
}

function operandBytes(matrix: AnyMatrix, rows: number): number {
  return Math.ceil((rows * matrix.cols * matrix.data.BYTES_PER_ELEMENT) / ALIGN_BYTES) * ALIGN_BYTES;
}

/** The same operands over rows [start, start + rows), in the caller's own memory. */
export function ownRows(operands: RowOperands, start: number, rows: number): Record<string, AnyMatrix> {
  return Object.fromEntries(
    operands.map(([name, matrix]) => [
      name,
      { ...matrix, rows, offset: matrix.offset + start * matrix.stride },
    ]),
  );
}

/**
 * The same operands as gapless matrices in shared memory, filled where the kernel reads them; operands that are shared
 * already stay where they are.
 */
export function sharedRows(
  operands: RowOperands,
  start: number,
  rows: number,
  memory: SharedArrayBuffer,
): Record<string, AnyMatrix> {
  const result: Record<string, AnyMatrix> = {};
  let offset = 0;
  for (const [name, matrix, access] of operands) {
    if (isShared(matrix)) {
      result[name] = { ...matrix, rows, offset: matrix.offset + start * matrix.stride };
      continue;
    }
    const data = elementsOn(matrix.data, memory, offset, rows * matrix.cols);
    if (access !== 'out') copyIn(matrix, start, rows, data);
    result[name] = { data, rows, cols: matrix.cols, offset: 0, stride: matrix.cols };
    offset += operandBytes(matrix, rows);
  }
  return result;
}

/** Copies what the kernel wrote back to rows [start, …) of the caller's memory. */
export function collectRows(
  operands: RowOperands,
  start: number,
  shared: Readonly<Record<string, AnyMatrix>>,
): void {
  for (const [name, matrix, access] of operands) {
    if (access === 'in' || isShared(matrix)) continue;
    const { data, rows, cols } = shared[name];
    if (matrix.stride === cols) {
      matrix.data.set(data, matrix.offset + start * cols);
      continue;
    }
    for (let i = 0; i < rows; i++)
      matrix.data.set(data.subarray(i * cols, (i + 1) * cols), matrix.offset + (start + i) * matrix.stride);
  }
}

/**
 * A kernel's arguments as they are sent to a worker: matrices that every worker gets whole are cut out of their tensors
 * first, because a message copies the entire memory behind an array (for a block of a Hessian, the Hessian).
 */
export function sendable(args: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(args).map(([name, value]) => [name, isMatrix(value) ? cutOut(value) : value]),
  );
}

function isMatrix(value: unknown): value is AnyMatrix {
  return typeof value === 'object' && value !== null && 'data' in value && 'stride' in value;
}

function cutOut(matrix: AnyMatrix): AnyMatrix {
  const { rows, cols } = matrix;
  const packed = new (matrix.data.constructor as new (length: number) => Elements)(rows * cols);
  copyIn(matrix, 0, rows, packed);
  return { data: packed, rows, cols, offset: 0, stride: cols };
}

function copyIn(matrix: AnyMatrix, start: number, rows: number, to: Elements): void {
  const { data, cols, offset, stride } = matrix;
  if (stride === cols) {
    to.set(data.subarray(offset + start * cols, offset + (start + rows) * cols));
    return;
  }
  for (let i = 0; i < rows; i++) {
    const at = offset + (start + i) * stride;
    to.set(data.subarray(at, at + cols), i * cols);
  }
}

function elementsOn(like: Elements, memory: SharedArrayBuffer, offset: number, length: number): Elements {
  if (like instanceof Float32Array) return new Float32Array(memory, offset, length);
  if (like instanceof Float64Array) return new Float64Array(memory, offset, length);
  if (like instanceof Uint32Array) return new Uint32Array(memory, offset, length);
  if (like instanceof Uint16Array) return new Uint16Array(memory, offset, length);
  return new Uint8Array(memory, offset, length);
}
