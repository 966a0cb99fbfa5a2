import { f32ToBf16 } from '../../src/core/dtype.js';
import { createRng } from '../../src/core/rng.js';
import type { QuantSpec } from '../../src/quant/records.js';

/** A layer and its inputs, made from a seed; every value is exact in float32, weights also in bfloat16. */
export interface Problem {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly tokens: number;
  /** [N, K] as float32. */
  readonly weight: Float32Array;
  /** The same in bfloat16 bits. */
  readonly weightBits: Uint16Array;
  /** [tokens, K]. */
  readonly inputs: Float32Array | Float64Array;
}

export interface ProblemOptions {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly tokens?: number;
  readonly seed: number;
  /** Columns whose inputs are always zero. */
  readonly dead?: readonly number[];
  /** Share by which each further latent direction shrinks; 1 for a flat spectrum, small for an ill-conditioned H. */
  readonly decay?: number;
  /** Independent noise on top of the latent directions. */
  readonly noise?: number;
}

/** Correlated inputs: latent directions of decreasing strength, mixed at random, with unequal column scales. */
export function makeProblem(options: ProblemOptions): Problem {
  const { outFeatures, inFeatures, seed, dead = [], decay = 0.93, noise = 0.05 } = options;
  const tokens = options.tokens ?? Math.round(inFeatures * 1.5);
  const rng = createRng(seed);
  const latents = Math.min(inFeatures, 48);
  const mixing = Float64Array.from({ length: latents * inFeatures }, () => rng.normal());
  const columnScale = Float64Array.from({ length: inFeatures }, () => Math.exp(0.7 * rng.normal()));
  const inputs = new Float32Array(tokens * inFeatures);
  for (let t = 0; t < tokens; t++) {
    const latent = Float64Array.from({ length: latents }, (_, i) => rng.normal() * decay ** i);
    for (let k = 0; k < inFeatures; k++) {
      let value = noise * rng.normal();
      for (let i = 0; i < latents; i++) value += latent[i] * mixing[i * inFeatures + k] * 0.3;
      inputs[t * inFeatures + k] = dead.includes(k) ? 0 : value * columnScale[k];
    }
  }
  const weightBits = Uint16Array.from({ length: outFeatures * inFeatures }, () =>
    f32ToBf16(0.1 * rng.normal()),
  );
  const asBits = Uint32Array.from(weightBits, (bits) => bits << 16);
  const weight = new Float32Array(asBits.buffer);
  return { outFeatures, inFeatures, tokens, weight, weightBits, inputs };
}

/** Four bits, groups of 128, everything else at the defaults of the command line. */
export const DEFAULT_SPEC: QuantSpec = {
  method: 'gptq',
  bits: 4,
  groupSize: 128,
  rule: 'symmetric',
  order: 'natural',
  staticGroups: false,
  damp: 0.01,
  range: 'minmax',
  refine: 0,
  minZero: 1,
};
