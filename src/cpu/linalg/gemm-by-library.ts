/**
 * Large float32 products through the matrix library, which wants operands without gaps: c is cut into tiles, strided
 * operands are packed tile by tile into reused scratch, and tiles that a triangle excludes are skipped.
 * Memory: at most TileLimits.maxPackElems elements for each of a, b and c (more when one row alone is longer).
 */
import type { Triangle } from '../../engine/linalg.js';
import type { MatrixLibrary } from '../matrix-library.js';
import { matrixRows, packMatrix, unpackMatrix } from '../matrix.js';
import type { Matrix } from '../matrix.js';
import type { ScratchArena } from '../scratch-arena.js';
import { triangleColumns } from './gemm.js';
import { packTransposed } from './pack-transposed.js';

type Float32Matrix = Matrix<Float32Array>;

export interface LibraryGemmArgs {
  readonly a: Float32Matrix;
  readonly b: Float32Matrix;
  readonly c: Float32Matrix;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  readonly beta: 0 | 1;
  readonly triangle?: Triangle;
}

/** How c is cut. */
export interface TileLimits {
  /** Elements of each packed operand and of a tile of c. */
  readonly maxPackElems: number;
  /** Columns of c per product where a triangle is asked for: half of a tile on the diagonal is computed in vain. */
  readonly triangleCols: number;
  /** Rows and columns of a tile even where fewer would fit. */
  readonly minTile: number;
}

/** 32 MiB per operand. */
const TILE_LIMITS: TileLimits = { maxPackElems: 2 ** 23, triangleCols: 512, minTile: 128 };
/** Width of c from which packing aᵀ transposed (about 2 ns an element) beats the library's slower handling of aᵀ. */
const MIN_COLS_TO_TRANSPOSE = 1024;

/** Rectangle of c, both ends of each range exclusive. */
interface Tile {
  readonly row: number;
  readonly rows: number;
  readonly col: number;
  readonly cols: number;
}

export async function gemmByLibrary(
  library: MatrixLibrary,
  arena: ScratchArena,
  args: LibraryGemmArgs,
  limits: TileLimits = TILE_LIMITS,
): Promise<void> {
  const job = new LibraryGemm(library, arena, args, limits);
  await job.run();
}

/** Whether rows follow one another without gaps. */
function isContiguous(matrix: Float32Matrix): boolean {
  return matrix.stride === matrix.cols || matrix.rows === 1;
}

class LibraryGemm {
  private readonly k: number;
  /** Rows of c per tile, columns of c per tile. */
  private readonly tileRows: number;
  private readonly tileCols: number;

  constructor(
    private readonly library: MatrixLibrary,
    private readonly arena: ScratchArena,
    private readonly args: LibraryGemmArgs,
    limits: TileLimits,
  ) {
    const { a, b, c, transA, transB, triangle } = args;
    const { maxPackElems, triangleCols, minTile } = limits;
    this.k = transA ? a.rows : a.cols;
    const depth = Math.max(1, this.k);
    const fit = Math.max(1, Math.floor(maxPackElems / depth));
    // Rows of op(b) = columns of c that lie together need no packing, in tiles only when b is given transposed.
    const freeB = isContiguous(b) && (transB || (triangle === undefined && b.cols <= fit));
    const widest = triangle === undefined ? (freeB ? c.cols : Math.max(minTile, fit)) : triangleCols;
    this.tileCols = Math.min(c.cols, widest);
    const freeA = isContiguous(a) && !transA;
    const rowsOfC = this.writesDirectly() ? c.rows : Math.max(1, Math.floor(maxPackElems / this.tileCols));
    this.tileRows = Math.min(c.rows, rowsOfC, freeA ? c.rows : Math.max(minTile, fit));
  }

  async run(): Promise<void> {
    const { c } = this.args;
    for (let row = 0; row < c.rows; row += this.tileRows) {
      const rows = Math.min(this.tileRows, c.rows - row);
      const left = this.packLeft(row, rows);
      for (let col = 0; col < c.cols; col += this.tileCols) {
        const tile = this.trim({ row, rows, col, cols: Math.min(this.tileCols, c.cols - col) });
        if (tile.rows > 0) await this.multiplyTile(tile, left.data, left.transposed);
      }
    }
  }

  /** True when the library may write its result straight into c. */
  private writesDirectly(): boolean {
    const { c, alpha, beta, triangle } = this.args;
    return isContiguous(c) && this.tileCols === c.cols && alpha === 1 && beta === 0 && triangle === undefined;
  }

  /** The tile without leading or trailing rows that the triangle excludes altogether. */
  private trim(tile: Tile): Tile {
    const { triangle } = this.args;
    if (triangle === undefined) return tile;
    const { row, rows, col, cols } = tile;
    if (triangle.part === 'upper') {
      // Row r is needed when r + rowOffset ≤ col + cols − 1.
      const end = Math.min(row + rows, col + cols - triangle.rowOffset);
      return { ...tile, rows: Math.max(0, end - row) };
    }
    const start = Math.max(row, col - triangle.rowOffset);
    return { ...tile, row: start, rows: Math.max(0, row + rows - start) };
  }

  /** Rows [row, row + rows) of op(a), as [rows, K] or, `transposed`, as [K, rows]. */
  private packLeft(row: number, rows: number): { readonly data: Float32Array; readonly transposed: boolean } {
    const { a, c, transA } = this.args;
    if (!transA) return { data: this.contiguousRows('a', a, row, rows), transposed: false };
    const data = this.arena.take('a', rows * this.k);
    const columns = { ...a, cols: rows, offset: a.offset + row };
    // A trimmed tile needs some of the rows of op(a), which only lie together in the form [rows, K].
    const transposed = this.args.triangle === undefined && c.cols < MIN_COLS_TO_TRANSPOSE;
    if (transposed) packMatrix(columns, data);
    else packTransposed(columns, data);
    return { data, transposed };
  }

  private packRight(tile: Tile): Float32Array {
    const { b, transB } = this.args;
    if (transB) return this.contiguousRows('b', b, tile.col, tile.cols);
    if (tile.cols === b.cols) return this.contiguousRows('b', b, 0, b.rows);
    const data = this.arena.take('b', tile.cols * this.k);
    packMatrix({ ...b, cols: tile.cols, offset: b.offset + tile.col }, data);
    return data;
  }

  /** Rows of a matrix without gaps: a view where they already are, else a packed copy. */
  private contiguousRows(slot: string, matrix: Float32Matrix, row: number, rows: number): Float32Array {
    const part = matrixRows(matrix, row, rows);
    if (isContiguous(matrix)) return part.data.subarray(part.offset, part.offset + rows * part.cols);
    const data = this.arena.take(slot, rows * part.cols);
    packMatrix(part, data);
    return data;
  }

  private async multiplyTile(tile: Tile, left: Float32Array, transA: boolean): Promise<void> {
    const { c, transB } = this.args;
    const direct = this.writesDirectly();
    const start = c.offset + tile.row * c.stride;
    const size = tile.rows * tile.cols;
    const result = direct ? c.data.subarray(start, start + size) : this.arena.take('c', size);
    const skipped = transA ? 0 : (tile.row % this.tileRows) * this.k;
    await this.library.multiply({
      a: left.subarray(skipped, skipped + tile.rows * this.k),
      b: this.packRight(tile),
      c: result,
      m: tile.rows,
      k: this.k,
      n: tile.cols,
      transA,
      transB,
    });
    if (!direct) this.mergeTile(tile, result);
  }

  /** c ← alpha·result + beta·c inside the tile, where the triangle lets through. */
  private mergeTile(tile: Tile, result: Float32Array): void {
    const { c, alpha, beta, triangle } = this.args;
    if (triangle === undefined && beta === 0 && alpha === 1) {
      const { offset } = matrixRows(c, tile.row, tile.rows);
      unpackMatrix(result, { ...c, rows: tile.rows, cols: tile.cols, offset: offset + tile.col });
      return;
    }
    for (let i = 0; i < tile.rows; i++) {
      const limits = triangleColumns(tile.row + i, c.cols, triangle);
      const from = Math.max(limits.from, tile.col);
      const source = i * tile.cols + from - tile.col;
      const target = c.offset + (tile.row + i) * c.stride + from;
      const count = Math.min(limits.to, tile.col + tile.cols) - from;
      if (beta === 1) addRow(c.data, target, result, source, count, alpha);
      else for (let j = 0; j < count; j++) c.data[target + j] = alpha * result[source + j];
    }
  }
}

/** to[target …] += alpha·from[source …], `count` elements. */
function addRow(
  to: Float32Array,
  target: number,
  from: Float32Array,
  source: number,
  count: number,
  alpha: number,
): void {
  if (alpha === 1) for (let j = 0; j < count; j++) to[target + j] += from[source + j];
  else if (alpha === -1) for (let j = 0; j < count; j++) to[target + j] -= from[source + j];
  else for (let j = 0; j < count; j++) to[target + j] += alpha * from[source + j];
}
