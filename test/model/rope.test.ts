/**
 * Plan: RoPE frequencies against values computed by hand (beside each case) and against the defining properties of each
 * scaling; tables are cos and sin of position × frequency, times the attention factor.
 */
import { describe, expect, it } from 'vitest';
import type { RopeConfig } from '../../src/model/index.js';
import { ropeFrequencies, ropeTables } from '../../src/model/index.js';

function rope(scaling: RopeConfig['scaling'], theta = 10000, rotaryDims = 8): RopeConfig {
  return { theta, rotaryDims, scaling };
}

function expectClose(actual: ArrayLike<number>, expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs(actual[i] - value) <= 1e-12 * Math.abs(value) + 1e-15).toBe(true);
  });
}

describe('frequencies', () => {
  it('default: theta^(−i/4)', () => {
    const { inverse, attentionFactor } = ropeFrequencies(rope({ type: 'default' }));
    expectClose(inverse, [1, 0.1, 0.01, 0.001]);
    expect(attentionFactor).toBe(1);
  });

  it('linear: all divided by the factor', () => {
    expectClose(ropeFrequencies(rope({ type: 'linear', factor: 4 })).inverse, [0.25, 0.025, 0.0025, 0.00025]);
  });

  it('llama3: short waves kept, long ones divided, those between blended', () => {
    // Rotations over 64 positions: 10.19, 1.0186, 0.10186, 0.010186; kept from 4 on, divided up to 1, between:
    // share (1.0186 − 1)/3 kept.
    const scaling = {
      type: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 64,
    } as const;
    const keep = (6.4 / (2 * Math.PI) - 1) / 3;
    const { inverse } = ropeFrequencies(rope(scaling));
    expectClose(inverse, [1, 0.1 * keep + (0.1 * (1 - keep)) / 8, 0.01 / 8, 0.001 / 8]);
  });

  const yarn = {
    type: 'yarn',
    factor: 4,
    betaFast: 4,
    betaSlow: 1,
    originalMaxPositions: 1024,
    truncate: true,
  } as const;

  it('yarn: ramp over pair indices, ends rounded outwards', () => {
    // 8·ln(1024/(4·2π))/(2·ln 10000) = 1.610, → 1; 8·ln(1024/2π)/(2·ln 10000) = 2.212 → 3: ramp 0, 0, ½, 1.
    const { inverse } = ropeFrequencies(rope(yarn));
    expectClose(inverse, [1, 0.1, 0.01 * 0.5 + 0.0025 * 0.5, 0.001 / 4]);
  });

  it('yarn without truncation keeps the fractions', () => {
    const low = (8 * Math.log(1024 / (8 * Math.PI))) / (2 * Math.log(10000));
    const high = (8 * Math.log(1024 / (2 * Math.PI))) / (2 * Math.log(10000));
    const share = (2 - low) / (high - low);
    const { inverse } = ropeFrequencies(rope({ ...yarn, truncate: false }));
    expectClose(inverse, [1, 0.1, 0.01 * (1 - share) + 0.0025 * share, 0.001 / 4]);
  });

  it('yarn with a ramp of no width stays finite', () => {
    const { inverse } = ropeFrequencies(rope({ ...yarn, originalMaxPositions: 1 }));
    expect([...inverse].every(Number.isFinite)).toBe(true);
    expectClose(inverse, [1, 0.1 / 4, 0.01 / 4, 0.001 / 4]);
  });

  it.each([
    [{}, 0.1 * Math.log(4) + 1],
    [{ attentionFactor: 1.25 }, 1.25],
    [{ mscale: 0.5, mscaleAllDim: 2 }, (0.05 * Math.log(4) + 1) / (0.2 * Math.log(4) + 1)],
    [{ mscale: 0.5 }, 0.1 * Math.log(4) + 1],
    [{ factor: 0.5 }, 1],
  ])('yarn attention factor %j', (changes, expected) => {
    expect(ropeFrequencies(rope({ ...yarn, ...changes })).attentionFactor).toBeCloseTo(expected, 14);
  });
});

describe('tables', () => {
  it('hold cos and sin by position, the attention factor multiplied in', () => {
    const { cos, sin } = ropeTables(
      rope({
        type: 'yarn',
        factor: 4,
        betaFast: 32,
        betaSlow: 1,
        originalMaxPositions: 16,
        attentionFactor: 2,
        truncate: true,
      }),
      3,
    );
    const { inverse } = ropeFrequencies(
      rope({
        type: 'yarn',
        factor: 4,
        betaFast: 32,
        betaSlow: 1,
        originalMaxPositions: 16,
        truncate: true,
      }),
    );
    expect(cos.length).toBe(12);
    expectClose(cos.subarray(0, 4), [2, 2, 2, 2]);
    expectClose(sin.subarray(0, 4), [0, 0, 0, 0]);
    expectClose(
      cos.subarray(8),
      [...inverse].map((f) => 2 * Math.cos(2 * f)),
    );
    expectClose(
      sin.subarray(8),
      [...inverse].map((f) => 2 * Math.sin(2 * f)),
    );
  });
});
