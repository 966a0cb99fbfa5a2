import type { GgufRope, Llama3Scaling } from './model-config.js';

/** Tensor of frequency divisors by which llama.cpp expresses Llama 3's RoPE scaling; F32 [headDim/2]. */
export const ROPE_FREQS = 'rope_freqs.weight';

/** Places of the divisors that must agree for scaling to count as Llama 3's: they are stored as float32. */
const TOLERANCE = 1e-5;

/**
 * Divisors of the base frequencies theta^(−2i/R), [rotaryDims/2]; undefined where the model needs none. The rule is Llama
 * 3.1's as in transformers' modeling_rope_utils: wavelengths above original/low are stretched by `factor`, those below
 * original/high are kept, between them the frequency is blended linearly in rotations.
 */
export function ropeFreqs(rope: GgufRope): Float32Array | undefined {
  if (rope.scaling.type !== 'llama3') return undefined;
  return Float32Array.from(llama3Divisors(rope, rope.scaling));
}

function llama3Divisors(rope: GgufRope, scaling: Llama3Scaling): number[] {
  const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions } = scaling;
  return rotationsPerPosition(rope).map((rotations) => {
    const keep = Math.min(Math.max((originalMaxPositions * rotations - low) / (high - low), 0), 1);
    return 1 / (keep + (1 - keep) / factor);
  });
}

function rotationsPerPosition(rope: { readonly theta: number; readonly rotaryDims: number }): number[] {
  return Array.from(
    { length: rope.rotaryDims / 2 },
    (_, i) => rope.theta ** ((-2 * i) / rope.rotaryDims) / (2 * Math.PI),
  );
}

/**
 * The scaling whose divisors these are, or undefined when they are not of Llama 3's form. The divisors fix it up to a
 * common scale of (low, high, original), which changes nothing a model computes: low is taken as 1, as in every published
 * model, and high as 4 where fewer than two frequencies lie between the ends.
 */
export function findLlama3Scaling(
  divisors: ArrayLike<number>,
  rope: { readonly theta: number; readonly rotaryDims: number },
): Llama3Scaling | undefined {
  const values = Array.from(divisors);
  const factor = snap(Math.max(...values));
  if (!(factor > 1) || values.length !== rope.rotaryDims / 2) return undefined;
  const rotations = rotationsPerPosition(rope);
  const blends = values
    .map((divisor, i) => ({
      rotations: rotations[i],
      keep: (1 / divisor - 1 / factor) / (1 - 1 / factor),
    }))
    .filter(({ keep }) => keep > TOLERANCE && keep < 1 - TOLERANCE);
  const candidates = blends.length < 2 ? fewBlends(blends, values, rotations) : [fitBlends(blends)];
  for (const { high, original } of candidates) {
    const scaling: Llama3Scaling = {
      type: 'llama3',
      factor,
      lowFreqFactor: 1,
      highFreqFactor: high,
      originalMaxPositions: Math.max(1, Math.round(original)),
    };
    if (high > 1 && agrees(llama3Divisors({ ...rope, scaling }, scaling), values)) return scaling;
  }
  return undefined;
}

interface Blend {
  readonly rotations: number;
  /** Share of the unscaled frequency: (original·rotations − 1)/(high − 1). */
  readonly keep: number;
}

interface Ends {
  readonly high: number;
  readonly original: number;
}

/** keep is a straight line over rotations; the two blends farthest apart give it best. */
function fitBlends(blends: readonly Blend[]): Ends {
  const first = blends[0];
  const last = blends[blends.length - 1];
  const slope = (first.keep - last.keep) / (first.rotations - last.rotations);
  const high = snap(1 - 1 / (first.keep - slope * first.rotations));
  return { high, original: slope * (high - 1) };
}

/** With one blend `high` is free, with none the whole ramp may lie anywhere between the last kept and first stretched. */
function fewBlends(
  blends: readonly Blend[],
  divisors: readonly number[],
  rotations: readonly number[],
): Ends[] {
  const high = 4;
  if (blends.length === 1)
    return [{ high, original: (blends[0].keep * (high - 1) + 1) / blends[0].rotations }];
  const stretched = divisors.findIndex((divisor) => divisor > 1 + TOLERANCE);
  const least = stretched === 0 ? 0 : high / rotations[stretched - 1];
  const most = stretched < 0 ? 2 * least : 1 / rotations[stretched];
  return [
    { high, original: Math.ceil(least) },
    { high, original: Math.floor(most) },
  ];
}

/** Removes what float32 storage added to a number that people wrote by hand. */
function snap(value: number): number {
  const rounded = Number(value.toPrecision(4));
  return Math.abs(rounded - value) <= 1e-4 * Math.abs(value) ? rounded : value;
}

function agrees(actual: readonly number[], expected: readonly number[]): boolean {
  return actual.every((value, i) => Math.abs(value - expected[i]) <= TOLERANCE * Math.abs(expected[i]));
}
