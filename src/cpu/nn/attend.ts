import type { OpContext } from '../op-context.js';
import { attention } from './attention.js';
import type { AttentionArgs } from './attention.js';

export function attend(_context: OpContext, args: AttentionArgs): void | Promise<void> {
  attention(args);
}
