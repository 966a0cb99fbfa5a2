import type { RealMatrix } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { solveRight } from './solve-right.js';

export function solveRightBlocked(_context: OpContext, l: RealMatrix, x: RealMatrix): void | Promise<void> {
  solveRight(l, x);
}
