const CHAINS = 12;

/** x[i] ← Σ over twelve chains, each started at x[i] + k/16 and run `rounds` times through a ← a·(1 − 2⁻¹³) + 2⁻¹³. */
export function multiplyAddChain(x: Float64Array | Float32Array, rounds: number): void {
  for (let i = 0; i < x.length; i++) {
    let sum = 0;
    for (let k = 0; k < CHAINS; k++) {
      let a = x[i] + k / 16;
      for (let round = 0; round < rounds; round++) a = a * 0.9998779296875 + 0.0001220703125;
      sum += a;
    }
    x[i] = sum;
  }
}
