import type { LinalgOps } from '../../../engine/linalg.js';
import type { KernelContext } from '../../kernel-context.js';
import { createCopy } from '../tensor/copy.js';
import { createAddRowDots } from './add-row-dots.js';
import { createCholeskyBlock } from './cholesky-block.js';
import { createCountNonFiniteRows } from './count-non-finite-rows.js';
import { createDiagonal } from './diagonal.js';
import { createGemm } from './gemm.js';
import { createMultiplyAddChain } from './multiply-add-chain.js';
import { createScale } from './scale.js';
import { createScaleLines } from './scale-lines.js';
import { createSolves } from './solve.js';
import { createTranspose } from './transpose.js';

/** Dense linear algebra of the webgpu engine. */
export function createLinalgKernels(context: KernelContext): LinalgOps {
  return {
    ...createGemm(context),
    ...createCholeskyBlock(context),
    ...createSolves(context),
    ...createTranspose(context),
    ...createScale(context),
    ...createScaleLines(context),
    ...createDiagonal(context),
    ...createAddRowDots(context),
    ...createCountNonFiniteRows(context),
    ...createMultiplyAddChain(context),
    ...createCopy(context),
  };
}
