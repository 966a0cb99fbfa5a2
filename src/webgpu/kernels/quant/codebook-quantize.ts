import { ceilDiv } from '../../../core/dims.js';
import type { CodebookOps } from '../../../engine/codebook.js';
import { elementCount } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor, elementFlags } from '../view-checks.js';
import { checkBlockSize } from './codebook-checks.js';

/** Lanes of one workgroup of shaders/quant/codebook-quantize.wgsl. */
const LANES = 64;
/** Elements of one word of codes, which is what a lane writes at a time. */
const WORD_ELEMS = 8;

/** shaders/quant/codebook-quantize.wgsl, a team of lanes for each block (software adapters: one lane). */
export function createCodebookQuantize(context: KernelContext): Pick<CodebookOps, 'codebookQuantize'> {
  const checks = checksFor('codebookQuantize');
  return {
    codebookQuantize: ({
      w,
      first = 0,
      count = elementCount(w) - first,
      codebook,
      blockSize,
      codes,
      absmax,
    }) => {
      const flags = elementFlags(checks, 'w', w);
      const blocks = ceilDiv(count, blockSize);
      checkBlockSize(checks, blockSize);
      checks.that(
        count > 0 && first >= 0 && first + count <= elementCount(w),
        `elements ${first}+${count} leave the ${elementCount(w)} of "${w.label}"`,
      );
      checks.that(
        first % blockSize === 0,
        `first element ${first} is no multiple of the block size ${blockSize}`,
      );
      checks.vector('codes', codes, ceilDiv(count, 2), 'u8');
      checks.vector('absmax', absmax, blocks, 'f32');
      const team = context.facts.software ? 1 : Math.min(LANES, blockSize / WORD_ELEMS);
      context.dispatch({
        shader: 'quant/codebook-quantize',
        flags: [...flags, ...(codebook === 'fp4' ? ['FP4'] : [])],
        constants: { TEAM: team },
        params: { count, first, block_size: blockSize, blocks },
        tensors: [w, codes, absmax],
        workgroups: ceilDiv(blocks, LANES / team),
      });
    },
  };
}
