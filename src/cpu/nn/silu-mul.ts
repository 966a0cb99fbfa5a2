import type { RealMatrix } from '../matrix.js';

export interface SiluMulArgs {
  readonly gate: RealMatrix;
  readonly up: RealMatrix;
  /** May be gate or up. */
  readonly out: RealMatrix;
}

/** out = silu(gate)·up, silu(v) = v / (1 + e^−v). */
export function siluMul({ gate, up, out }: SiluMulArgs): void {
  for (let i = 0; i < gate.rows; i++) {
    const g = gate.offset + i * gate.stride;
    const u = up.offset + i * up.stride;
    const o = out.offset + i * out.stride;
    for (let j = 0; j < gate.cols; j++) {
      const value = gate.data[g + j];
      out.data[o + j] = (value / (1 + Math.exp(-value))) * up.data[u + j];
    }
  }
}
