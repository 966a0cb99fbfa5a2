import { expect } from 'vitest';
import { mismatch, type Bound } from './mismatch.js';

export { mismatch, ulpDistance, type Bound } from './mismatch.js';

/** Fails the test with the reason of `mismatch`. */
export function expectMatch(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: Bound,
  what = 'result',
): void {
  const problem = mismatch(actual, expected, bound);
  expect(problem === '' ? 'ok' : `${what}: ${problem}`).toBe('ok');
}
