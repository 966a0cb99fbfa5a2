import type { Triangle } from '../../engine/linalg.js';
import type { RealMatrix, Reals } from '../matrix.js';

export interface GemmArgs {
  /** [M, K], or [K, M] with transA. */
  readonly a: RealMatrix;
  /** [K, N], or [N, K] with transB. */
  readonly b: RealMatrix;
  /** [M, N]. */
  readonly c: RealMatrix;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  readonly beta: 0 | 1;
  readonly triangle?: Triangle;
}

/** Rows and columns of c that one pass of the inner loop holds in registers. */
const TILE = 4;
/** Columns of c whose packed b panel (K · 64 doubles) stays in the second-level cache. */
const PANEL_COLS = 64;

/** First and last column + 1 of row `row` that the triangle lets through. */
export function triangleColumns(
  row: number,
  cols: number,
  triangle: Triangle | undefined,
): { readonly from: number; readonly to: number } {
  if (triangle === undefined) return { from: 0, to: cols };
  const diagonal = row + triangle.rowOffset;
  return triangle.part === 'upper'
    ? { from: Math.min(cols, Math.max(0, diagonal)), to: cols }
    : { from: 0, to: Math.min(cols, Math.max(0, diagonal + 1)) };
}

/**
 * c ← alpha·op(a)·op(b) + beta·c in plain loops, for either precision. Operands are packed into float64 panels, four
 * rows or columns interleaved, so sums are carried in float64 and rounded once to the precision of c.
 * Memory: K·68 doubles.
 */
export function gemm(args: GemmArgs): void {
  const { a, b, c, transA, transB, triangle } = args;
  const k = transA ? a.rows : a.cols;
  const packedA = new Float64Array(TILE * k);
  const packedB = new Float64Array(PANEL_COLS * k);
  const sums = new Float64Array(TILE * TILE);
  for (let col = 0; col < c.cols; col += PANEL_COLS) {
    const panel = Math.min(PANEL_COLS, c.cols - col);
    let packed = false;
    for (let row = 0; row < c.rows; row += TILE) {
      const rows = Math.min(TILE, c.rows - row);
      if (triangle !== undefined && !touches(triangle, row, rows, col, panel)) continue;
      if (!packed) for (let j = 0; j < panel; j += TILE) packLanes(b, !transB, col + j, k, packedB, j * k);
      packed = true;
      packLanes(a, transA, row, k, packedA, 0);
      for (let j = 0; j < panel; j += TILE) {
        if (triangle !== undefined && !touches(triangle, row, rows, col + j, TILE)) continue;
        multiplyTile(packedA, packedB, j * k, k, sums);
        storeTile(args, sums, row, col + j);
      }
    }
  }
}

/** Whether the rectangle holds an element that the triangle lets through. */
function touches(triangle: Triangle, row: number, rows: number, col: number, cols: number): boolean {
  return triangle.part === 'upper'
    ? row + triangle.rowOffset <= col + cols - 1
    : row + rows - 1 + triangle.rowOffset >= col;
}

/**
 * Interleaves four rows of `from` (four columns when `columns`) starting at `start`: to[at + 4·p + lane]. Lanes past
 * the end are zero.
 */
function packLanes(
  from: RealMatrix,
  columns: boolean,
  start: number,
  k: number,
  to: Float64Array,
  at: number,
): void {
  const data: Reals = from.data;
  const lanes = Math.min(TILE, (columns ? from.cols : from.rows) - start);
  const step = columns ? from.stride : 1;
  const laneStep = columns ? 1 : from.stride;
  for (let lane = 0; lane < TILE; lane++) {
    let source = from.offset + (start + lane) * laneStep;
    if (lane < lanes)
      for (let p = 0, target = at + lane; p < k; p++, target += TILE, source += step)
        to[target] = data[source];
    else for (let p = 0, target = at + lane; p < k; p++, target += TILE) to[target] = 0;
  }
}

/** sums[4·i + j] ← Σ_p a[4·p + i]·b[at + 4·p + j], two rows at a time so that all sums stay in registers. */
function multiplyTile(a: Float64Array, b: Float64Array, at: number, k: number, sums: Float64Array): void {
  for (let half = 0; half < TILE; half += 2) {
    let s00 = 0;
    let s01 = 0;
    let s02 = 0;
    let s03 = 0;
    let s10 = 0;
    let s11 = 0;
    let s12 = 0;
    let s13 = 0;
    for (let p = half, q = at; p < TILE * k; p += TILE, q += TILE) {
      const a0 = a[p];
      const a1 = a[p + 1];
      const b0 = b[q];
      const b1 = b[q + 1];
      const b2 = b[q + 2];
      const b3 = b[q + 3];
      s00 += a0 * b0;
      s01 += a0 * b1;
      s02 += a0 * b2;
      s03 += a0 * b3;
      s10 += a1 * b0;
      s11 += a1 * b1;
      s12 += a1 * b2;
      s13 += a1 * b3;
    }
    const to = half * TILE;
    sums[to] = s00;
    sums[to + 1] = s01;
    sums[to + 2] = s02;
    sums[to + 3] = s03;
    sums[to + 4] = s10;
    sums[to + 5] = s11;
    sums[to + 6] = s12;
    sums[to + 7] = s13;
  }
}

function storeTile(args: GemmArgs, sums: Float64Array, row: number, col: number): void {
  const { c, alpha, beta, triangle } = args;
  const { data, offset, stride } = c;
  for (let i = 0; i < TILE && row + i < c.rows; i++) {
    const { from, to } = triangleColumns(row + i, c.cols, triangle);
    const end = Math.min(to, col + TILE);
    for (let j = Math.max(from, col); j < end; j++) {
      const at = offset + (row + i) * stride + j;
      const value = alpha * sums[i * TILE + j - col];
      data[at] = beta === 0 ? value : data[at] + value;
    }
  }
}
