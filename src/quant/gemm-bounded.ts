import type { Engine } from '../engine/engine.js';
import type { GemmOptions } from '../engine/linalg.js';
import { colRange, rowRange } from '../engine/tensor.js';

/** Additions that one gemm call keeps in a float32 register; more of them go to c in several calls. */
export const MAX_INNER = 2048;

/** gemm whose inner dimension is cut into pieces of MAX_INNER, which bounds the rounding error of float32 engines. */
export function gemmBounded(engine: Engine, options: GemmOptions): void {
  const { a, b } = options;
  const transA = options.transA === true;
  const transB = options.transB === true;
  const inner = transA ? a.rows : a.cols;
  for (let start = 0; start < inner; start += MAX_INNER) {
    const count = Math.min(MAX_INNER, inner - start);
    engine.gemm({
      ...options,
      a: transA ? rowRange(a, start, count) : colRange(a, start, count),
      b: transB ? colRange(b, start, count) : rowRange(b, start, count),
      beta: start === 0 ? (options.beta ?? 0) : 1,
    });
  }
}
