import type { LinalgOps } from '../../../engine/linalg.js';
import type { KernelContext } from '../../kernel-context.js';

export function createLinalgKernels(_context: KernelContext): LinalgOps {
  return {} as LinalgOps;
}
