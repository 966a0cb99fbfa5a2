import { unreachable } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { Tensor } from '../engine/tensor.js';
import type { RopeConfig } from './types.js';

/** Angular speeds of the rotated pairs and the factor on cos and sin, all in float64. */
export interface RopeFrequencies {
  /** [rotaryDims/2], radians per position. */
  readonly inverse: Float64Array;
  /** 1 but for yarn. */
  readonly attentionFactor: number;
}

/**
 * Base frequencies theta^(−2i/R) (Su et al. 2021, RoFormer), rescaled as the config asks; the same rules as
 * transformers' modeling_rope_utils.
 */
export function ropeFrequencies(rope: RopeConfig): RopeFrequencies {
  const pairs = rope.rotaryDims / 2;
  const base = Float64Array.from({ length: pairs }, (_, i) => rope.theta ** ((-2 * i) / rope.rotaryDims));
  const { scaling } = rope;
  switch (scaling.type) {
    case 'default':
      return { inverse: base, attentionFactor: 1 };
    case 'linear':
      return { inverse: base.map((frequency) => frequency / scaling.factor), attentionFactor: 1 };
    case 'llama3':
      return { inverse: base.map((frequency) => scaleLlama3(frequency, scaling)), attentionFactor: 1 };
    case 'yarn':
      return { inverse: scaleYarn(base, rope, scaling), attentionFactor: yarnAttentionFactor(scaling) };
    default:
      return unreachable(scaling);
  }
}

type Scaling<Type extends RopeConfig['scaling']['type']> = Extract<RopeConfig['scaling'], { type: Type }>;

/** Llama 3.1: long wavelengths divided by `factor`, short ones kept, those between blended linearly in 1/wavelength. */
function scaleLlama3(frequency: number, scaling: Scaling<'llama3'>): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling;
  const rotations = (originalMaxPositions * frequency) / (2 * Math.PI);
  const keep = clamp01((rotations - lowFreqFactor) / (highFreqFactor - lowFreqFactor));
  return frequency * (keep + (1 - keep) / factor);
}

/** YaRN "by parts" (Peng et al. 2023, section 3.2): the ramp runs over pair indices, its ends rounded outwards by `truncate`. */
function scaleYarn(base: Float64Array, rope: RopeConfig, scaling: Scaling<'yarn'>): Float64Array {
  const pairOfRotations = (rotations: number): number =>
    (rope.rotaryDims * Math.log(scaling.originalMaxPositions / (rotations * 2 * Math.PI))) /
    (2 * Math.log(rope.theta));
  let low = pairOfRotations(scaling.betaFast);
  let high = pairOfRotations(scaling.betaSlow);
  if (scaling.truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, rope.rotaryDims - 1);
  // A ramp of no width would divide by zero.
  if (low === high) high += 0.001;
  return base.map((frequency, i) => {
    const interpolate = clamp01((i - low) / (high - low));
    return frequency * (1 - interpolate) + (frequency / scaling.factor) * interpolate;
  });
}

function yarnAttentionFactor(scaling: Scaling<'yarn'>): number {
  const { attentionFactor, mscale, mscaleAllDim, factor } = scaling;
  if (attentionFactor !== undefined) return attentionFactor;
  const magnitude = (weight: number): number => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  if (mscale !== undefined && mscaleAllDim !== undefined) return magnitude(mscale) / magnitude(mscaleAllDim);
  return magnitude(1);
}

function clamp01(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}

/** cos and sin [positions, rotaryDims/2] row-major in float64, the attention factor multiplied in. */
export function ropeTables(rope: RopeConfig, positions: number): { cos: Float64Array; sin: Float64Array } {
  const { inverse, attentionFactor } = ropeFrequencies(rope);
  const pairs = inverse.length;
  const cos = new Float64Array(positions * pairs);
  const sin = new Float64Array(positions * pairs);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < pairs; i++) {
      const angle = position * inverse[i];
      cos[position * pairs + i] = Math.cos(angle) * attentionFactor;
      sin[position * pairs + i] = Math.sin(angle) * attentionFactor;
    }
  }
  return { cos, sin };
}

/** The tables on an engine, f32 [positions, rotaryDims/2]; the caller frees both. */
export function uploadRope(
  engine: Engine,
  rope: RopeConfig,
  positions: number,
): { readonly cos: Tensor; readonly sin: Tensor } {
  const { cos, sin } = ropeTables(rope, positions);
  const shape = [positions, rope.rotaryDims / 2];
  return {
    cos: engine.upload(cos, shape, 'f32', 'rope cos'),
    sin: engine.upload(sin, shape, 'f32', 'rope sin'),
  };
}
