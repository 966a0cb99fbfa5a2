import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';

export function createQuantKernels(_context: KernelContext): QuantOps {
  return {} as QuantOps;
}
