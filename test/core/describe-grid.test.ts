import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, roundToF16, f32ToF16 } from '../../src/core/dtype.js';
import { gridOf } from '../../src/core/describe-grid.js';
import type { AffineLinear, AffineMinLinear, Grid } from '../../src/core/quantized-linear.js';
import { createRng } from '../../src/core/rng.js';

// Plan: the facts follow from the numbers: narrowest dtype over every float16 and bfloat16, sign, zeros, order of groups.
function affine(changes: Partial<AffineLinear> = {}): AffineLinear {
  return {
    kind: 'affine',
    outFeatures: 1,
    inFeatures: 64,
    bits: 4,
    groupSize: 32,
    codes: new Uint32Array(8),
    scales: Float32Array.of(0.5, 0.25),
    zeros: Uint8Array.of(8, 8),
    groupOf: Uint32Array.from({ length: 64 }, (_, k) => Math.floor(k / 32)),
    ...changes,
  };
}

function facts(linear: AffineLinear | AffineMinLinear): Extract<Grid, { bits: number }> {
  const grid = gridOf(linear);
  if (!('bits' in grid)) throw new Error('an affine grid expected');
  return grid;
}

describe('gridOf', () => {
  it('finds the narrowest dtype that holds every scale', () => {
    const finite16 = (bits: number): boolean => (bits & 0x7c00) !== 0x7c00;
    const halves = Array.from({ length: 65536 }, (_, bits) => bits).filter(finite16);
    expect(facts(affine({ scales: Float32Array.from(halves, f16ToF32) })).scaleDType).toBe('F16');
    const rng = createRng(5);
    for (let i = 0; i < 2000; i++) {
      const bits = rng.int(65536);
      const value = bf16ToF32(bits);
      if (!Number.isFinite(value)) continue;
      const wanted = f16ToF32(f32ToF16(value)) === value ? 'F16' : 'BF16';
      expect(facts(affine({ scales: Float32Array.of(0.5, value) })).scaleDType, `bits ${bits}`).toBe(wanted);
    }
    for (const value of [0.1, 65520, 1e-8, NaN, 1 + 2 ** -11, -(2 ** -14) - 2 ** -25])
      expect(facts(affine({ scales: Float32Array.of(value, 1) })).scaleDType, `${value}`).toBe('F32');
  });

  it('looks at minima as well', () => {
    const { scales, groupOf, codes } = affine();
    const common = {
      outFeatures: 1,
      inFeatures: 64,
      bits: 4,
      groupSize: 32,
      scales,
      groupOf,
      codes,
    } as const;
    const min = (mins: Float32Array): AffineMinLinear => ({ kind: 'affine-min', ...common, mins });
    expect(facts(min(Float32Array.of(-1, 0.5))).scaleDType).toBe('F16');
    expect(facts(min(Float32Array.of(-1, 0.1))).scaleDType).toBe('F32');
    expect(facts(min(Float32Array.of(-1, 0.5))).symmetric).toBe(false);
  });

  it('tells zeros, signs and order', () => {
    expect(facts(affine())).toMatchObject({ symmetric: true, signed: false, reordered: false });
    expect(facts(affine({ zeros: Uint8Array.of(8, 7) })).symmetric).toBe(false);
    expect(facts(affine({ scales: Float32Array.of(1, -1) })).signed).toBe(true);
    expect(facts(affine({ groupOf: new Uint32Array(64) })).reordered).toBe(true);
  });
});

describe('roundToF16', () => {
  it('equals the way by 16 bits', () => {
    const rng = createRng(6);
    const bits = new Uint32Array(1);
    const value = new Float32Array(bits.buffer);
    let wrong = 0;
    for (let i = 0; i < 200_000; i++) {
      bits[0] = (rng.int(65536) << 16) | (i % 3 === 0 ? 0x1000 * rng.int(16) : rng.int(65536));
      if (!Object.is(roundToF16(value[0]), f16ToF32(f32ToF16(value[0])))) wrong++;
    }
    expect(wrong).toBe(0);
  });
});
