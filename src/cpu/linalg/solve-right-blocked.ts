import { matrixRows, packMatrix, unpackMatrix } from '../matrix.js';
import type { RealMatrix } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { invertLower } from './invert-lower.js';
import { solveRight } from './solve-right.js';

/** Elements of x per product: 16 MiB. */
const CHUNK_ELEMS = 2 ** 22;

/**
 * solveRight with the matrix library: x·(L⁻¹)ᵀ, the inverse of the small triangle made in float64. Worth its n³/6
 * multiply-adds once x has more rows than L; otherwise, and without a library, solveRight itself.
 */
export function solveRightBlocked(context: OpContext, l: RealMatrix, x: RealMatrix): void | Promise<void> {
  const n = l.rows;
  const { library } = context;
  if (library === undefined || x.rows < n || x.rows * n * n < library.minMultiplyAdds) {
    solveRight(l, x);
    return undefined;
  }
  return solveByInverse(context, Float32Array.from(invertLower(l)), x);
}

async function solveByInverse(context: OpContext, inverse: Float32Array, x: RealMatrix): Promise<void> {
  const n = x.cols;
  const chunk = Math.max(1, Math.floor(CHUNK_ELEMS / n));
  for (let row = 0; row < x.rows; row += chunk) {
    const part = matrixRows(x, row, Math.min(chunk, x.rows - row));
    const before = context.arena.take('a', part.rows * n);
    const after = context.arena.take('c', part.rows * n);
    packMatrix(part, before);
    await context.library?.multiply({
      a: before,
      b: inverse,
      c: after,
      m: part.rows,
      k: n,
      n,
      transA: false,
      transB: true,
    });
    unpackMatrix(after, part);
  }
}
