import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { createDequantize } from './dequantize.js';
import { createGptqBlock } from './gptq-block.js';
import { createGroupRange } from './group-range.js';
import { createPackCodes } from './pack-codes.js';
import { createQuantizeNearest } from './quantize-nearest.js';
import { createRefineBlock } from './refine-block.js';

/** Quantizer steps: ranges, codes, GPTQ's column loop, refinement, packing. */
export function createQuantKernels(context: KernelContext): QuantOps {
  return {
    ...createGroupRange(context),
    ...createQuantizeNearest(context),
    ...createGptqBlock(context),
    ...createRefineBlock(context),
    ...createPackCodes(context),
    ...createDequantize(context),
  };
}
