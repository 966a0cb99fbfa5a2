/**
 * Least-squares fits of a grid to a run of weights: several step sizes are tried, each rounds the weights to codes, and
 * the codes tell the scale (and minimum) of least Σ cost·Δ². After make_qx_quants and make_qkx2_quants of llama.cpp
 * (ggml-quants.c), with trials that do not depend on each other, so that kernels can share them among lanes; a trial is
 * judged by what rounding to its grid then costs.
 */
import type { Reals } from '../matrix.js';
import { ROUND_MAGIC } from '../rounding.js';

/** Weights values[start …] and what an error in each costs, costs[0 …]. */
export interface FitRun {
  readonly values: Reals;
  readonly start: number;
  readonly count: number;
  readonly costs: Reals;
}

/** value = scale·code + min. */
export interface Line {
  readonly scale: number;
  readonly min: number;
}

export const TRIALS = 24;
/** Of the trials for a scale alone, so many have the sign that gives the largest weight the outermost code. */
const OWN_SIGN_TRIALS = 16;
const TRIAL_STEP = 0.125;
/** Keeps the outermost weight of every trial off the middle between two codes, where rounding errors would decide. */
const TRIAL_START = 0.0625;
/** Codes of less variance are all the same. */
const SAME_CODES = 1e-5;

/** What trials want to know of a run beforehand. */
export interface Extent {
  /** The first of the values of largest magnitude. */
  readonly extreme: number;
  readonly low: number;
  readonly high: number;
  /** Σ cost. */
  readonly weight: number;
  /** Σ cost·value / Σ cost. */
  readonly mean: number;
}

export function extentOf({ values, start, count, costs }: FitRun): Extent {
  let extreme = values[start];
  let low = extreme;
  let high = extreme;
  let weight = 0;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const value = values[start + i];
    if (Math.abs(value) > Math.abs(extreme)) extreme = value;
    if (value < low) low = value;
    if (value > high) high = value;
    weight += costs[i];
    sum += costs[i] * value;
  }
  return { extreme, low, high, weight, mean: sum / weight };
}

/** Trial t for value = scale·code, codes −half … half − 1; undefined where no code is other than 0. */
export function scaleTrial(run: FitRun, t: number, half: number, { extreme }: Extent): Line | undefined {
  const { values, start, count, costs } = run;
  const reach =
    t < OWN_SIGN_TRIALS
      ? 1 - half - TRIAL_START - TRIAL_STEP * t
      : half - 1.5 + TRIAL_START + TRIAL_STEP * (t - OWN_SIGN_TRIALS);
  const steps = reach / extreme;
  let xq = 0;
  let qq = 0;
  for (let i = 0; i < count; i++) {
    const value = values[start + i];
    let code = value * steps + ROUND_MAGIC - ROUND_MAGIC;
    if (code < -half) code = -half;
    if (code > half - 1) code = half - 1;
    xq += costs[i] * value * code;
    qq += costs[i] * code * code;
  }
  return qq > 0 && extreme !== 0 ? { scale: xq / qq, min: 0 } : undefined;
}

/**
 * Trial t for value = scale·code + min, codes 0 … top; with `below`, min ≤ 0. Undefined where the codes do not tell a
 * positive scale.
 */
export function lineTrial(
  run: FitRun,
  t: number,
  { top, below }: { readonly top: number; readonly below: boolean },
  extent: Extent,
): Line | undefined {
  const { values, start, count, costs } = run;
  const { high, weight, mean } = extent;
  const low = below ? Math.min(extent.low, 0) : extent.low;
  if (!(high > low && weight > 0)) return undefined;
  const steps = (top - 1 + TRIAL_START + TRIAL_STEP * t) / (high - low);
  // Codes are counted from the mean's, or their variance would drown in float32's rounding.
  const centre = (mean - low) * steps + ROUND_MAGIC - ROUND_MAGIC;
  let q = 0;
  let qq = 0;
  let xq = 0;
  for (let i = 0; i < count; i++) {
    const value = values[start + i];
    let code = (value - low) * steps + ROUND_MAGIC - ROUND_MAGIC;
    if (code > top) code = top;
    code -= centre;
    q += costs[i] * code;
    qq += costs[i] * code * code;
    xq += costs[i] * (value - mean) * code;
  }
  const spread = qq - (q * q) / weight;
  const apart = spread > SAME_CODES * weight;
  let scale = apart ? xq / spread : 0;
  let min = mean - scale * (q / weight + centre);
  if (below && (min > 0 || !apart)) {
    min = 0;
    scale = (xq + mean * (q + centre * weight)) / (qq + 2 * centre * q + centre * centre * weight);
  }
  return scale > 0 ? { scale, min } : undefined;
}

/** Σ cost·Δ² of rounding to value = scale·code + min, codes lowest … lowest + top. */
export function lineError(run: FitRun, { scale, min }: Line, lowest: number, top: number): number {
  const { values, start, count, costs } = run;
  const highest = lowest + top;
  const steps = 1 / scale;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const value = values[start + i] - min;
    let code = value * steps + ROUND_MAGIC - ROUND_MAGIC;
    if (code < lowest) code = lowest;
    if (code > highest) code = highest;
    const miss = value - scale * code;
    sum += costs[i] * miss * miss;
  }
  return sum;
}

/** The candidate of least error, the first of equals; undefined where all are. */
export function bestOf(
  count: number,
  candidate: (t: number) => Line | undefined,
  errorOf: (line: Line) => number,
): Line | undefined {
  let best: Line | undefined;
  let least = Infinity;
  for (let t = 0; t < count; t++) {
    const line = candidate(t);
    if (line === undefined) continue;
    const error = errorOf(line);
    if (!(error < least)) continue;
    least = error;
    best = line;
  }
  return best;
}
