import type { NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';

export function createLinear(_context: KernelContext): Pick<NnOps, 'linear'> {
  return {} as Pick<NnOps, 'linear'>;
}
