import { describe, expect, it } from 'vitest';

import type { CastSource, CastTarget } from '../../src/core/cast-elements.js';
import { castElements, isCastSource } from '../../src/core/cast-elements.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16, f8e4m3ToF32, f8e5m2ToF32 } from '../../src/core/dtype.js';
import { createRng } from '../../src/core/rng.js';

/** Float32 patterns: every exponent, both signs, mantissas at and beside every rounding boundary of the halves. */
function trickyBits(): Uint32Array {
  const bits: number[] = [];
  for (let exponent = 0; exponent < 256; exponent++) {
    for (const mantissa of [0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001]) {
      for (const more of [0, 0x10000, 0x400000, 0x7f0000]) {
        for (const sign of [0, 0x80000000]) bits.push(sign + exponent * 0x800000 + (mantissa | more));
      }
    }
  }
  return Uint32Array.from(bits);
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const halves = (bytes: Uint8Array): Uint16Array => new Uint16Array(bytes.slice().buffer);
const floats = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer);

const SCALARS: Record<Exclude<CastSource, 'F64' | 'F32'>, (code: number) => number> = {
  F16: f16ToF32,
  BF16: bf16ToF32,
  F8_E4M3: f8e4m3ToF32,
  F8_E5M2: f8e5m2ToF32,
};
const TO_HALF: Record<Exclude<CastTarget, 'F32'>, (value: number) => number> = {
  F16: f32ToF16,
  BF16: f32ToBf16,
};

describe('castElements', () => {
  it.each(['F16', 'BF16'] as const)('rounds float32 to %s as the scalar conversion does', (to) => {
    const bits = trickyBits();
    const values = new Float32Array(bits.buffer);
    const got = halves(castElements(bytesOf(bits), 'F32', to));
    const wrong = Array.from(got.keys()).filter((i) => {
      if (Number.isNaN(values[i])) return !Number.isNaN(SCALARS[to](got[i]));
      return got[i] !== TO_HALF[to](values[i]);
    });
    expect(wrong.map((i) => bits[i].toString(16))).toEqual([]);
  });

  it.each(['F16', 'BF16', 'F8_E4M3', 'F8_E5M2'] as const)('widens every %s exactly', (from) => {
    const codes = from.startsWith('F8') ? new Uint8Array(256) : new Uint16Array(65536);
    for (let i = 0; i < codes.length; i++) codes[i] = i;
    const wide = floats(castElements(bytesOf(codes), from, 'F32'));
    const wrong = Array.from(codes).filter((code) => !Object.is(wide[code], SCALARS[from](code)));
    expect(wrong).toEqual([]);
    for (const to of ['F16', 'BF16'] as const) {
      if (to === from) continue;
      const narrow = halves(castElements(bytesOf(codes), from, to));
      const off = Array.from(codes).filter((code) => {
        const value = SCALARS[from](code);
        return Number.isNaN(value)
          ? !Number.isNaN(SCALARS[to](narrow[code]))
          : narrow[code] !== TO_HALF[to](value);
      });
      expect(off).toEqual([]);
    }
  });

  it('keeps sign and payload of a NaN on the way up', () => {
    expect(new Uint32Array(castElements(Uint8Array.of(0x01, 0xfe), 'F16', 'F32').buffer)[0]).toBe(0xffc02000);
    expect(new Uint32Array(castElements(Uint8Array.of(0x81, 0xff), 'BF16', 'F32').buffer)[0]).toBe(
      0xff810000,
    );
  });

  it('takes float64 through float32', () => {
    const values = Float64Array.of(1 / 3, -1e300, 2 ** -140, 65519.999999, 0, -0, NaN);
    expect(floats(castElements(bytesOf(values), 'F64', 'F32'))).toEqual(Float32Array.from(values));
    const narrow = halves(castElements(bytesOf(values), 'F64', 'F16'));
    expect(narrow).toEqual(Uint16Array.from(values, f32ToF16));
  });

  it('reads from any offset and across chunks', () => {
    const rng = createRng(7);
    const values = Float32Array.from({ length: 70001 }, () => rng.normal());
    const shifted = new Uint8Array(values.byteLength + 3);
    shifted.set(bytesOf(values), 3);
    const expected = Uint16Array.from(values, f32ToBf16);
    expect(halves(castElements(shifted.subarray(3), 'F32', 'BF16'))).toEqual(expected);
    const odd = new Uint8Array(expected.byteLength + 1);
    odd.set(bytesOf(expected), 1);
    expect(halves(castElements(odd.subarray(1), 'BF16', 'F16'))).toEqual(
      Uint16Array.from(expected, (bits) => f32ToF16(bf16ToF32(bits))),
    );
  });

  it('is the identity between equal dtypes, and empty for nothing', () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    expect(castElements(bytes, 'F16', 'F16')).toBe(bytes);
    expect(castElements(new Uint8Array(0), 'F16', 'BF16')).toHaveLength(0);
  });

  it('refuses half an element', () => {
    expect(() => castElements(new Uint8Array(6), 'F32', 'F16')).toThrow(RangeError);
  });

  it('tells floats from other dtypes', () => {
    expect(isCastSource('F8_E5M2')).toBe(true);
    expect(isCastSource('I32')).toBe(false);
  });
});
