/** Scales and zeros made before a linear is rounded, [N, G] each. */
export interface GroupGrid {
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
}
