import { ceilDiv } from '../../../core/dims.js';
import { CODEBOOK_BLOCK_SIZES } from '../../../engine/codebook.js';
import type { CodebookWeight } from '../../../engine/codebook.js';
import type { Checks } from '../view-checks.js';

/** The parts of a weight on a codebook fit together. */
export function checkCodebookWeight(checks: Checks, weight: CodebookWeight): void {
  const count = weight.outFeatures * weight.inFeatures;
  checkBlockSize(checks, weight.blockSize);
  checks.vector('codes', weight.codes, ceilDiv(count, 2), 'u8');
  checks.vector('absmax', weight.absmax, ceilDiv(count, weight.blockSize), 'f32');
  checks.vector('table', weight.table, 16, 'f32');
}

export function checkBlockSize(checks: Checks, blockSize: number): void {
  const known: readonly number[] = CODEBOOK_BLOCK_SIZES;
  checks.that(known.includes(blockSize), `block size ${blockSize}, expected one of ${known.join(', ')}`);
}
