import { describe, expect, it } from 'vitest';
import { compareCodes, nearestCode, roundEven } from './grids.js';

// Plan: the judge of codes must call a wrong code wrong.
describe('compareCodes', () => {
  const unrounded = [3.49999, 5.2, 7.5];
  it('counts equal codes as nothing', () => {
    expect(compareCodes([3, 5, 8], [3, 5, 8], unrounded, 1e-3)).toEqual({ boundary: 0, wrong: 0 });
  });
  it('excuses a step of one at a boundary only', () => {
    expect(compareCodes([4, 5, 7], [3, 5, 8], unrounded, 1e-3)).toEqual({ boundary: 2, wrong: 0 });
    expect(compareCodes([4, 5, 8], [3, 5, 8], unrounded, 1e-6)).toEqual({ boundary: 0, wrong: 1 });
    expect(compareCodes([3, 6, 8], [3, 5, 8], unrounded, 1e-3)).toEqual({ boundary: 0, wrong: 1 });
    expect(compareCodes([5, 5, 8], [3, 5, 8], unrounded, 1e-3)).toEqual({ boundary: 0, wrong: 1 });
  });
  it('calls NaN wrong and refuses another length', () => {
    expect(compareCodes([NaN, 5, 8], [3, 5, 8], unrounded, 1e-3).wrong).toBe(1);
    expect(() => compareCodes([3, 5], [3, 5, 8], unrounded, 1e-3)).toThrow(/2 codes/);
  });
});

describe('roundEven and nearestCode', () => {
  it('takes halves to even, negative ones too', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.49, -2.51].map((x) => roundEven(x) + 0)).toEqual([
      0, 2, 2, 0, -2, -2, 2, -3,
    ]);
  });
  it('clamps to the codes of the grid', () => {
    expect([-9, -0.24, 0.3, 9].map((value) => nearestCode(value, 0.5, 2, 2))).toEqual([0, 2, 3, 3]);
  });
});
