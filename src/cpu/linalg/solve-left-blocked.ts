import { matrixCols, packMatrix, unpackMatrix } from '../matrix.js';
import type { RealMatrix } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { invertLower } from './invert-lower.js';
import { solveLeft } from './solve-left.js';

/** Elements of x per product: 16 MiB. */
const CHUNK_ELEMS = 2 ** 22;

/**
 * solveLeft with the matrix library: (L⁻¹)ᵀ·x, the inverse of the small triangle made in float64. Worth its n³/6
 * multiply-adds once x has more columns than L; otherwise, and without a library, solveLeft itself.
 */
export function solveLeftBlocked(context: OpContext, l: RealMatrix, x: RealMatrix): void | Promise<void> {
  const n = l.rows;
  const { library } = context;
  if (library === undefined || x.cols < n || x.cols * n * n < library.minMultiplyAdds) {
    solveLeft(l, x);
    return undefined;
  }
  return solveByInverse(context, Float32Array.from(invertLower(l)), x);
}

async function solveByInverse(context: OpContext, inverse: Float32Array, x: RealMatrix): Promise<void> {
  const n = x.rows;
  const chunk = Math.max(1, Math.floor(CHUNK_ELEMS / n));
  for (let col = 0; col < x.cols; col += chunk) {
    const part = matrixCols(x, col, Math.min(chunk, x.cols - col));
    const before = context.arena.take('b', n * part.cols);
    const after = context.arena.take('c', n * part.cols);
    packMatrix(part, before);
    await context.library?.multiply({
      a: inverse,
      b: before,
      c: after,
      m: n,
      k: n,
      n: part.cols,
      transA: true,
      transB: false,
    });
    unpackMatrix(after, part);
  }
}
