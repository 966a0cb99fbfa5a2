import type { RealMatrix, Reals } from '../matrix.js';

export interface RopeArgs {
  /** [B·T, heads·headDim], rotated in place. */
  readonly x: RealMatrix;
  /** [T', rotaryDims/2]. */
  readonly cos: Reals;
  readonly sin: Reals;
  readonly seqLen: number;
  readonly heads: number;
  readonly headDim: number;
  readonly rotaryDims: number;
}

/** Rotary position embedding, "rotate half": (x[i], x[i + rotaryDims/2]) turn by the angle of the row's position. */
export function rope(args: RopeArgs): void {
  const { x, cos, sin, seqLen, heads, headDim, rotaryDims } = args;
  const half = rotaryDims / 2;
  const data = x.data;
  for (let r = 0; r < x.rows; r++) {
    const angle = (r % seqLen) * half;
    for (let h = 0; h < heads; h++) {
      const first = x.offset + r * x.stride + h * headDim;
      const second = first + half;
      for (let i = 0; i < half; i++) {
        const c = cos[angle + i];
        const s = sin[angle + i];
        const u = data[first + i];
        const v = data[second + i];
        data[first + i] = u * c - v * s;
        data[second + i] = v * c + u * s;
      }
    }
  }
}
