import type { RealMatrix } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { solveLeft } from './solve-left.js';

export function solveLeftBlocked(_context: OpContext, l: RealMatrix, x: RealMatrix): void | Promise<void> {
  solveLeft(l, x);
}
