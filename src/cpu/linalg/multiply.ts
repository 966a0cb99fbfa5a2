import { Bug } from '../../core/errors.js';
import type { RealMatrix } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { gemm } from './gemm.js';
import type { GemmArgs } from './gemm.js';
import { gemmByLibrary } from './gemm-by-library.js';

/**
 * A matrix product by the fastest way there is: the matrix library for large float32 products, plain loops otherwise.
 * Returns undefined when it is already done.
 */
export function multiply(context: OpContext, args: GemmArgs): void | Promise<void> {
  const { library, arena } = context;
  const { a, b, c } = args;
  const k = args.transA ? a.rows : a.cols;
  if (library === undefined || c.rows * c.cols * k < library.minMultiplyAdds) {
    gemm(args);
    return undefined;
  }
  return gemmByLibrary(library, arena, {
    ...args,
    a: { ...a, data: float32(a) },
    b: { ...b, data: float32(b) },
    c: { ...c, data: float32(c) },
  });
}

function float32(matrix: RealMatrix): Float32Array {
  if (matrix.data instanceof Float32Array) return matrix.data;
  throw new Bug('internal: a float64 matrix reached the float32 matrix library');
}
