import type { OpContext } from '../op-context.js';
import { gemm } from './gemm.js';
import type { GemmArgs } from './gemm.js';
import { gemmByLibrary } from './gemm-by-library.js';

/**
 * A matrix product by the fastest way there is: the matrix library for large float32 products, plain loops otherwise.
 * Returns undefined when it is already done.
 */
export function multiply(context: OpContext, args: GemmArgs): void | Promise<void> {
  const { library } = context;
  const { a, b, c } = args;
  const k = args.transA ? a.rows : a.cols;
  if (
    library === undefined ||
    c.rows * c.cols * k < library.minMultiplyAdds ||
    !(a.data instanceof Float32Array && b.data instanceof Float32Array && c.data instanceof Float32Array)
  ) {
    gemm(args);
    return;
  }
  return gemmByLibrary(library, context.scratch, args);
}
