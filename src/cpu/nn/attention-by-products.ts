/**
 * Attention as products: for each window, head and chunk of query rows, scores = q·kᵀ over the keys that the chunk can
 * see, softmax in place, out = scores·v. Memory: one chunk of scores, at most MAX_SCORE_ELEMS elements.
 */
import { multiply } from '../linalg/multiply.js';
import { matrixCols, matrixRows, realsLike } from '../matrix.js';
import type { RealMatrix } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import type { AttentionArgs } from './attention.js';
import { causalSoftmax } from './causal-softmax.js';

/** 8 MiB in float32. */
const MAX_SCORE_ELEMS = 2 ** 21;
/** Query rows per product: on the diagonal half of a chunk's scores are computed in vain. */
const MAX_CHUNK_ROWS = 256;

export async function attentionByProducts(context: OpContext, args: AttentionArgs): Promise<void> {
  const { q, seqLen, heads } = args;
  const chunk = Math.max(1, Math.min(MAX_CHUNK_ROWS, seqLen, Math.floor(MAX_SCORE_ELEMS / seqLen)));
  const scores = realsLike(q.data, chunk * seqLen);
  context.scratch.hold(scores.byteLength);
  try {
    for (let window = 0; window < q.rows; window += seqLen)
      for (let head = 0; head < heads; head++)
        for (let start = 0; start < seqLen; start += chunk) {
          const count = Math.min(chunk, seqLen - start);
          const first = Math.max(0, start - args.slidingWindow + 1);
          const cols = start + count - first;
          const tile: RealMatrix = { data: scores, rows: count, cols, offset: 0, stride: cols };
          await attendChunk(context, args, { window, head, start, first }, tile);
        }
  } finally {
    context.scratch.release(scores.byteLength);
  }
}

/** Query rows from `start` on of one head of one window; the keys from `first` on. */
async function attendChunk(
  context: OpContext,
  args: AttentionArgs,
  at: { readonly window: number; readonly head: number; readonly start: number; readonly first: number },
  scores: RealMatrix,
): Promise<void> {
  const { q, k, v, out, headDim, scale, slidingWindow } = args;
  const { window, head, start, first } = at;
  const kvHead = Math.floor((head * args.kvHeads) / args.heads);
  const block = (matrix: RealMatrix, row: number, rows: number, index: number): RealMatrix =>
    matrixCols(matrixRows(matrix, window + row, rows), index * headDim, headDim);
  await multiply(context, {
    a: block(q, start, scores.rows, head),
    b: block(k, first, scores.cols, kvHead),
    c: scores,
    transA: false,
    transB: true,
    alpha: 1,
    beta: 0,
  });
  causalSoftmax({ scores, scale, firstRow: start - first, slidingWindow });
  await multiply(context, {
    a: scores,
    b: block(v, first, scores.cols, kvHead),
    c: block(out, start, scores.rows, head),
    transA: false,
    transB: false,
    alpha: 1,
    beta: 0,
  });
}
