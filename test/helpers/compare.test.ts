import { describe, expect, it } from 'vitest';
import { expectMatch, mismatch, ulpDistance } from './compare.js';

describe('mismatch', () => {
  const loose = { nmse: 1e3, ulp: 1e9, scaled: { scale: [1, 1, 1], most: 1e9 } };

  it('accepts equal values', () => {
    expect(mismatch([1, 2, 3], [1, 2, 3], { exact: true, nmse: 0, ulp: 0 })).toBe('');
    expect(mismatch([Infinity, NaN, 0], [Infinity, NaN, 0], { exact: true })).toBe('');
  });

  it('fails on a NaN, however loose the bounds', () => {
    expect(mismatch([1, NaN, 3], [1, 2, 3], loose)).toContain('element 1 is NaN');
    expect(mismatch([NaN, NaN, NaN], [1, 2, 3], { nmse: Infinity })).toContain('element 0 is NaN');
  });

  it('fails on infinities in other places or of the other sign', () => {
    expect(mismatch([1, Infinity, 3], [1, 2, 3], loose)).not.toBe('');
    expect(mismatch([1, -Infinity, 3], [1, Infinity, 3], loose)).not.toBe('');
    expect(mismatch([1, 2, 3], [1, Infinity, 3], loose)).not.toBe('');
  });

  it('fails on a wrong length and on results shifted by one', () => {
    expect(mismatch([1, 2], [1, 2, 3], loose)).toContain('2 elements, expected 3');
    expect(mismatch([2, 3, 4], [1, 2, 3], { nmse: 1e-3 })).toContain('NMSE');
  });

  it('fails on each bound alone', () => {
    expect(mismatch([1 + 2 ** -20], [1], { ulp: 4 })).toContain('ULP');
    expect(mismatch([1.1], [1], { nmse: 1e-3 })).toContain('NMSE');
    expect(mismatch([1.1], [1], { scaled: { scale: [1], most: 0.05 } })).toContain('scaled');
    expect(mismatch([1 + 2 ** -23], [1], { exact: true })).toContain('exactly');
  });

  it('fails when the reference is all zero and the result is not', () => {
    expect(mismatch([1e-9], [0], { nmse: 1e-3 })).toContain('NMSE');
  });

  it('refuses to compare without a bound', () => {
    expect(mismatch([1], [1], {})).toBe('no bound given');
  });

  it('counts float32 steps', () => {
    expect(ulpDistance(1, 1 + 2 ** -23)).toBe(1);
    expect(ulpDistance(0, 0)).toBe(0);
    expect(ulpDistance(NaN, 1)).toBeNaN();
  });
});

describe('expectMatch', () => {
  it('throws', () => {
    expect(() => expectMatch([1], [2], { exact: true })).toThrow();
  });
});
