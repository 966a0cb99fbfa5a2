import { multiply } from '../linalg/multiply.js';
import { matrixCols, matrixRows } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { runRows } from '../op-context.js';
import type { GptqBlockArgs } from './gptq-block.js';

/** Columns between two products; below it a call to the library costs more than the loop it replaces. */
const SUB_BLOCK = 32;
/** Nanoseconds of one multiply-add and of one rounding in gptqBlock. */
const MULTIPLY_ADD_NS = 0.4;
const ROUNDING_NS = 10;

/**
 * gptqBlock with the matrix library: the block is cut into sub-blocks, and what earlier sub-blocks carry into one
 * comes from a product, which leaves a quarter of the multiply-adds to the loops. Without a library: gptqBlock itself.
 */
export function gptqBlockTiled(context: OpContext, args: GptqBlockArgs): void | Promise<void> {
  const { library } = context;
  const { w } = args;
  const smallest = w.rows * SUB_BLOCK * SUB_BLOCK;
  if (library === undefined || w.cols <= SUB_BLOCK || smallest < library.minMultiplyAdds)
    return runRows(context, 'gptq-block', args, costOf(args));
  return runSubBlocks(context, args);
}

async function runSubBlocks(context: OpContext, args: GptqBlockArgs): Promise<void> {
  const { w, carried, l, error, codes } = args;
  for (let start = 0; start < w.cols; start += SUB_BLOCK) {
    const cols = Math.min(SUB_BLOCK, w.cols - start);
    const rowsOfL = matrixRows(l, start, cols);
    if (start > 0)
      await multiply(context, {
        a: matrixCols(error, 0, start),
        b: matrixCols(rowsOfL, 0, start),
        c: matrixCols(carried, start, cols),
        transA: false,
        transB: true,
        alpha: 1,
        beta: 1,
      });
    const part: GptqBlockArgs = {
      ...args,
      w: matrixCols(w, start, cols),
      carried: matrixCols(carried, start, cols),
      l: matrixCols(rowsOfL, start, cols),
      firstColumn: args.firstColumn + start,
      error: matrixCols(error, start, cols),
      codes: matrixCols(codes, start, cols),
    };
    await runRows(context, 'gptq-block', part, costOf(part));
  }
}

function costOf({ w }: GptqBlockArgs): number {
  return w.rows * w.cols * (ROUNDING_NS + (w.cols / 2) * MULTIPLY_ADD_NS);
}
