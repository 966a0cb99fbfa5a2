/**
 * The dims legend, the same letters in TypeScript and in WGSL:
 *
 * S samples · B batch · T tokens · D hidden · H heads · E head size · N out features · K in features ·
 * G groups along K · g group size · r rank · V vocabulary · I intermediate
 *
 * Weights are [N, K] row-major inside; other layouts exist only in formats/ and say so.
 */
export function product(shape: readonly number[]): number {
  return shape.reduce((total, dim) => total * dim, 1);
}

export function ceilDiv(a: number, b: number): number {
  return Math.ceil(a / b);
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
