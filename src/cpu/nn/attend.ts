import type { OpContext } from '../op-context.js';
import { attention } from './attention.js';
import type { AttentionArgs } from './attention.js';
import { attentionByProducts } from './attention-by-products.js';

/** Attention through the matrix library where its products are large enough for that, else row by row. */
export function attend(context: OpContext, args: AttentionArgs): void | Promise<void> {
  const { library } = context;
  const products = args.seqLen * args.seqLen * args.headDim;
  if (library !== undefined && products >= library.minMultiplyAdds) return attentionByProducts(context, args);
  attention(args);
  return undefined;
}
