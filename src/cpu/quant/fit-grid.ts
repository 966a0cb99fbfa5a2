/**
 * Least-squares fits of a grid to a run of weights: several step sizes are tried, each rounds the weights to codes, and
 * the codes tell the scale (and minimum) of least Σ cost·Δ². After make_qx_quants and make_qkx2_quants of llama.cpp
 * (ggml-quants.c), with trials that do not depend on each other, so that kernels can share them among lanes.
 */
import type { Reals } from '../matrix.js';
import { roundHalfEven } from '../rounding.js';

/** Weights values[start …] and what an error in each costs, costs[0 …]. */
export interface FitRun {
  readonly values: Reals;
  readonly start: number;
  readonly count: number;
  readonly costs: Reals;
}

export interface Line {
  readonly scale: number;
  readonly min: number;
}

export const TRIALS = 24;
/** Of the trials for a scale alone, so many have the sign that gives the largest weight the outermost code. */
const OWN_SIGN_TRIALS = 16;
const TRIAL_STEP = 0.125;
/** A variance of codes below this share of their mean square is rounding: they are all the same. */
const SAME_CODES = 1e-5;

/** Steps per unit that trial t of fitScale rounds with; `extreme` is the weight of largest magnitude. */
function scaleTrial(t: number, half: number, extreme: number): number {
  if (t < OWN_SIGN_TRIALS) return -(half - 1 + TRIAL_STEP * t) / extreme;
  return (half - 1.5 + TRIAL_STEP * (t - OWN_SIGN_TRIALS)) / extreme;
}

/** The scale of value = scale·code, codes −half … half − 1; undefined where no trial leaves a code that is not 0. */
export function fitScale(run: FitRun, half: number): number | undefined {
  const { values, start, count, costs } = run;
  const extreme = extremeOf(run);
  let best: number | undefined;
  let bestGain = 0;
  for (let t = 0; t < TRIALS && extreme !== 0; t++) {
    const steps = scaleTrial(t, half, extreme);
    let xq = 0;
    let qq = 0;
    for (let i = 0; i < count; i++) {
      const value = values[start + i];
      let code = roundHalfEven(value * steps);
      if (code < -half) code = -half;
      if (code > half - 1) code = half - 1;
      xq += costs[i] * value * code;
      qq += costs[i] * code * code;
    }
    if (!(qq > 0) || xq * xq <= bestGain * qq) continue;
    bestGain = (xq * xq) / qq;
    best = xq / qq;
  }
  return best;
}

/** The first of the values of largest magnitude. */
export function extremeOf({ values, start, count }: Omit<FitRun, 'costs'>): number {
  let extreme = 0;
  for (let i = start; i < start + count; i++)
    if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
  return extreme;
}

/**
 * Scale and minimum of value = scale·code + min, codes 0 … top; with `below` the minimum is at most 0. Undefined where no
 * trial leaves two different codes.
 */
export function fitLine(run: FitRun, top: number, below: boolean): Line | undefined {
  const { values, start, count, costs } = run;
  let low = below ? 0 : values[start];
  let high = values[start];
  let weight = 0;
  let x = 0;
  for (let i = 0; i < count; i++) {
    const value = values[start + i];
    if (value < low) low = value;
    if (value > high) high = value;
    weight += costs[i];
    x += costs[i] * value;
  }
  if (below && high === low) return { scale: 0, min: low };
  let best: Line | undefined;
  let bestGain = -Infinity;
  const mean = x / weight;
  for (let t = 0; t < TRIALS && high > low && weight > 0; t++) {
    const steps = (top - 1 + TRIAL_STEP * t) / (high - low);
    let q = 0;
    let qq = 0;
    let xq = 0;
    for (let i = 0; i < count; i++) {
      const value = values[start + i];
      const code = Math.min(roundHalfEven((value - low) * steps), top);
      q += costs[i] * code;
      qq += costs[i] * code * code;
      xq += costs[i] * (value - mean) * code;
    }
    const spread = qq - (q * q) / weight;
    const apart = spread > SAME_CODES * qq;
    let scale = apart ? xq / spread : 0;
    let min = mean - (scale * q) / weight;
    if (below && (min > 0 || !apart)) {
      min = 0;
      scale = (xq + mean * q) / qq;
    }
    if (!(scale > 0)) continue;
    // Σ c·(x − mean)² minus Σ c·Δ², which needs no second pass.
    const shift = min - mean;
    const gain = 2 * scale * xq - scale * scale * qq - 2 * scale * shift * q - shift * shift * weight;
    if (gain <= bestGain) continue;
    bestGain = gain;
    best = { scale, min };
  }
  return best;
}
