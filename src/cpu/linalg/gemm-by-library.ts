import type { MatrixLibrary } from '../matrix-library.js';
import { packMatrix } from '../matrix.js';
import type { ScratchMeter } from '../op-context.js';
import { triangleColumns } from './gemm.js';
import type { GemmArgs } from './gemm.js';

export async function gemmByLibrary(
  library: MatrixLibrary,
  scratch: ScratchMeter,
  args: GemmArgs,
): Promise<void> {
  const { a, b, c, transA, transB, alpha, beta, triangle } = args;
  const pa = new Float32Array(a.rows * a.cols);
  const pb = new Float32Array(b.rows * b.cols);
  const pc = new Float32Array(c.rows * c.cols);
  packMatrix(a, pa);
  packMatrix(b, pb);
  const bytes = 4 * (pa.length + pb.length + pc.length);
  scratch.hold(bytes);
  try {
    await library.multiply({
      a: pa,
      b: pb,
      c: pc,
      m: c.rows,
      n: c.cols,
      k: transA ? a.rows : a.cols,
      transA,
      transB,
    });
    for (let i = 0; i < c.rows; i++) {
      const { from, to } = triangleColumns(i, c.cols, triangle);
      for (let j = from; j < to; j++) {
        const at = c.offset + i * c.stride + j;
        c.data[at] = alpha * pc[i * c.cols + j] + (beta === 0 ? 0 : c.data[at]);
      }
    }
  } finally {
    scratch.release(bytes);
  }
}
