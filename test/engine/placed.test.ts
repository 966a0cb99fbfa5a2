import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { openOracle } from '../helpers/engines.js';
import { firstMismatch, largestError, nmse, place, STRIDED } from './placed.js';

// Plan: each helper must fail on what it is there to find.
describe('place', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openOracle();
  });
  afterAll(() => engine.dispose());
  const values = [1, 2, 3, 4, 5, 6];

  it('gives back what it was given', async () => {
    const placed = place(engine, 'm', { rows: 2, cols: 3, values, layout: STRIDED });
    expect(Array.from(await placed.take())).toEqual(values);
  });

  it.each([0, STRIDED.offset - 1, STRIDED.offset + 3, STRIDED.offset + 12])(
    'notices that element %d, a guard, was overwritten',
    async (at) => {
      const placed = place(engine, 'm', { rows: 2, cols: 3, values, layout: STRIDED });
      engine.write(placed.view.tensor, Float32Array.of(0), at);
      await expect(placed.take()).rejects.toThrow(/guard of m/);
    },
  );

  it('fills an output with values that no comparison passes', async () => {
    const found = await place(engine, 'out', { rows: 1, cols: 2 }).take();
    expect(() => nmse(found, [0, 0])).toThrow(/NaN/);
  });
});

describe('comparisons', () => {
  it('fail on NaN and infinity', () => {
    for (const bad of [NaN, Infinity]) {
      expect(() => nmse([1, bad], [1, 2])).toThrow(/element 1/);
      expect(() => largestError([1, bad], [1, 2], 1)).toThrow(/element 1/);
      expect(firstMismatch([1, NaN], [1, bad])).toBe(1);
    }
  });
  it('fail on another length', () => {
    expect(() => nmse([1], [1, 2])).toThrow();
    expect(() => largestError([1], [1, 2], 1)).toThrow();
    expect(firstMismatch([1], [1, 2])).toBe(1);
  });
  it('see values that are off by one place', () => {
    expect(nmse([2, 3, 1], [1, 2, 3])).toBeGreaterThan(0.1);
    expect(largestError([2, 3, 1], [1, 2, 3], 0)).toBe(1);
    expect(firstMismatch([1, 3, 2], [1, 2, 3])).toBe(1);
    expect(firstMismatch([1, 2, 3], [1, 2, 3])).toBe(-1);
  });
});
