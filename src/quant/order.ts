/** The order in which GPTQ visits input columns (quant/README.md section 2, step 3), and putting a Hessian into it. */
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import { dropFactor, liveDiagonal } from './hessian.js';
import type { Hessian } from './hessian.js';
import { sumReals, zerosLike } from './reals.js';
import type { Reals } from './reals.js';
import type { QuantSpec } from './records.js';
import type { SquarePanels } from './square-panels.js';

/** Elements moved between host and engine at a time: 16 MiB of float32. */
const PIECE_ELEMS = 4 * 1024 * 1024;

/**
 * order[position] = column, or undefined for the natural order. `diagonal` is H's in natural order; equal elements keep
 * their natural order.
 */
export function processingOrder(
  kind: QuantSpec['order'],
  diagonal: Reals,
  groupSize: number,
): Uint32Array | undefined {
  if (kind === 'natural') return undefined;
  const live = liveDiagonal(diagonal);
  const columns = Array.from(live.keys());
  if (kind === 'act') return Uint32Array.from(columns.sort((i, j) => live[j] - live[i] || i - j));
  const means = Array.from(
    { length: diagonal.length / groupSize },
    (_, group) => sumReals(live.subarray(group * groupSize, (group + 1) * groupSize)) / groupSize,
  );
  const groupOf = (column: number): number => Math.floor(column / groupSize);
  return Uint32Array.from(
    columns.sort(
      (i, j) =>
        means[groupOf(j)] - means[groupOf(i)] || groupOf(i) - groupOf(j) || live[j] - live[i] || i - j,
    ),
  );
}

/** positionOf[column] = position. */
export function invertOrder(order: Uint32Array): Uint32Array {
  const positions = new Uint32Array(order.length);
  order.forEach((column, position) => (positions[column] = position));
  return positions;
}

/** diag(H) with columns numbered as in the checkpoint. */
export function naturalDiagonal(hessian: Hessian): Reals {
  const { order, diagonal } = hessian;
  if (order === undefined) return diagonal;
  const natural = zerosLike(diagonal, diagonal.length);
  order.forEach((column, position) => (natural[column] = diagonal[position]));
  return natural;
}

/**
 * Permutes rows and columns of H on the engine, by way of the host so that no second K × K buffer is needed there.
 * Host memory: K²/2 elements while it runs.
 */
export async function reorderHessian(
  engine: Engine,
  hessian: Hessian,
  order: Uint32Array | undefined,
): Promise<void> {
  if (sameOrder(hessian.order, order)) return;
  const { square } = hessian;
  const target = order ?? Uint32Array.from({ length: square.size }, (_, column) => column);
  const current = hessian.order === undefined ? undefined : invertOrder(hessian.order);
  const source = current === undefined ? target : target.map((column) => current[column]);
  dropFactor(engine, hessian);
  const packed = await readUpper(engine, square, hessian.diagonal);
  writeUpper(engine, square, packed, source);
  hessian.diagonal = hessian.diagonal.map((_, position) => hessian.diagonal[source[position]]);
  hessian.order = order;
}

function sameOrder(a: Uint32Array | undefined, b: Uint32Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.every((column, position) => column === b[position]);
}

/** Row i of a packed upper triangle starts here minus i, so that (i, j) is packedRow(i) + j. */
function packedRow(i: number, size: number): number {
  return i * size - (i * (i + 1)) / 2;
}

async function readUpper(engine: Engine, square: SquarePanels, diagonal: Reals): Promise<Reals> {
  const { size } = square;
  const packed = zerosLike(diagonal, (size * (size + 1)) / 2);
  const pieceRows = Math.max(1, Math.floor(PIECE_ELEMS / size));
  for (const { start, end, tensor } of square.panels)
    for (let row = start; row < end; row += pieceRows) {
      const rows = Math.min(pieceRows, end - row);
      const piece = await readReals(engine, tensor, (row - start) * size, rows * size);
      for (let r = 0; r < rows; r++) {
        const i = row + r;
        packed.set(piece.subarray(r * size + i, (r + 1) * size), packedRow(i, size) + i);
      }
    }
  // The factor may have overwritten the diagonal.
  for (let i = 0; i < size; i++) packed[packedRow(i, size) + i] = diagonal[i];
  return packed;
}

function writeUpper(engine: Engine, square: SquarePanels, packed: Reals, source: Uint32Array): void {
  const { size } = square;
  const rowStart = Float64Array.from({ length: size }, (_, i) => packedRow(i, size));
  const pieceRows = Math.max(1, Math.floor(PIECE_ELEMS / size));
  for (const { start, end, tensor } of square.panels)
    for (let row = start; row < end; row += pieceRows) {
      const rows = Math.min(pieceRows, end - row);
      const piece = zerosLike(packed, rows * size);
      for (let r = 0; r < rows; r++) {
        const i = source[row + r];
        for (let position = row + r; position < size; position++) {
          const j = source[position];
          piece[r * size + position] = i <= j ? packed[rowStart[i] + j] : packed[rowStart[j] + i];
        }
      }
      engine.write(tensor, piece, (row - start) * size);
    }
}
