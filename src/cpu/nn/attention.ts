import type { RealMatrix } from '../matrix.js';

export interface AttentionArgs {
  /** [B·T, H·E]. */
  readonly q: RealMatrix;
  /** [B·T, kvHeads·E]. */
  readonly k: RealMatrix;
  readonly v: RealMatrix;
  /** [B·T, H·E]; not q, k or v. */
  readonly out: RealMatrix;
  readonly seqLen: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** Positions a token sees, itself included; Infinity without a window. */
  readonly slidingWindow: number;
}

/** Causal grouped-query attention, one query row at a time: the definition. Memory: T + E doubles. */
export function attention(args: AttentionArgs): void {
  const { q, heads, seqLen } = args;
  const scores = new Float64Array(seqLen);
  const sums = new Float64Array(args.headDim);
  for (let row = 0; row < q.rows; row++)
    for (let head = 0; head < heads; head++) attendRow(args, row, head, scores, sums);
}

function attendRow(
  args: AttentionArgs,
  row: number,
  head: number,
  scores: Float64Array,
  sums: Float64Array,
): void {
  const { q, k, v, out, seqLen, headDim, scale } = args;
  const position = row % seqLen;
  const window = row - position;
  const first = Math.max(0, position - args.slidingWindow + 1);
  const kvHead = Math.floor((head * args.kvHeads) / args.heads);
  const qAt = q.offset + row * q.stride + head * headDim;
  let largest = -Infinity;
  for (let s = first; s <= position; s++) {
    const kAt = k.offset + (window + s) * k.stride + kvHead * headDim;
    let dot = 0;
    for (let e = 0; e < headDim; e++) dot += q.data[qAt + e] * k.data[kAt + e];
    scores[s] = dot * scale;
    if (scores[s] > largest) largest = scores[s];
  }
  sums.fill(0);
  let total = 0;
  for (let s = first; s <= position; s++) {
    const weight = Math.exp(scores[s] - largest);
    total += weight;
    const vAt = v.offset + (window + s) * v.stride + kvHead * headDim;
    for (let e = 0; e < headDim; e++) sums[e] += weight * v.data[vAt + e];
  }
  const outAt = out.offset + row * out.stride + head * headDim;
  for (let e = 0; e < headDim; e++) out.data[outAt + e] = sums[e] / total;
}
