/** Real numbers on the host in an engine's precision. */
export type Reals = Float32Array | Float64Array;

/** Zeros of the same precision as `like`. */
export function zerosLike(like: Reals, length: number): Reals {
  return like instanceof Float64Array ? new Float64Array(length) : new Float32Array(length);
}

/** Sum in float64, in index order. */
export function sumReals(values: Reals): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
