import type { CodebookOps } from '../../../engine/codebook.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { HqqOps } from '../../../engine/hqq.js';
import type { QuantizeGroupsOps } from '../../../engine/quantize-groups.js';
import type { KernelContext } from '../../kernel-context.js';
import { createCodebookDequantize } from './codebook-dequantize.js';
import { createCodebookQuantize } from './codebook-quantize.js';
import { createDequantize } from './dequantize.js';
import { createGptqBlock } from './gptq-block.js';
import { createGroupRange } from './group-range.js';
import { createHqqZeros } from './hqq-zeros.js';
import { createPackCodes } from './pack-codes.js';
import { createQuantizeGroups } from './quantize-groups.js';
import { createQuantizeNearest } from './quantize-nearest.js';
import { createRefineBlock } from './refine-block.js';
import { createSuperBlockRange } from './super-block-range.js';

/** Quantizer steps: ranges, codes, GPTQ's column loop, refinement, packing, codebooks. */
export function createQuantKernels(
  context: KernelContext,
): QuantOps & CodebookOps & QuantizeGroupsOps & HqqOps {
  return {
    ...createGroupRange(context),
    ...createSuperBlockRange(context),
    ...createQuantizeNearest(context),
    ...createQuantizeGroups(context),
    ...createGptqBlock(context),
    ...createRefineBlock(context),
    ...createHqqZeros(context),
    ...createPackCodes(context),
    ...createDequantize(context),
    ...createCodebookQuantize(context),
    ...createCodebookDequantize(context),
  };
}
