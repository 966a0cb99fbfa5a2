import { gridText } from '../../../core/describe-grid.js';
import type { Grid } from '../../../core/quantized-linear.js';
import { SUPER_BLOCK } from '../../../core/quantized-linear.js';
import type { BlockType } from '../block-types.js';
import { SIMPLE_BLOCK } from './simple-blocks.js';

/** What all of GGUF's writable block types hold, for messages. */
export const HELD_GRIDS =
  '4-, 5- and 8-bit symmetric and 4- and 5-bit with real minima in groups of a multiple of 32 columns with float16 scales, q4_k and q6_k';

/** A block type that can be written; Q5_K is read only (records hold its products, not its factors). */
export type WritableBlockType = Exclude<BlockType, 'Q5_K'>;

/**
 * The block type that holds a grid exactly for rows of K columns, or every reason why none does. Groups wider than 32 are
 * held by repeating their scale.
 */
export function blockTypeOf(grid: Grid, inFeatures: number): WritableBlockType | readonly string[] {
  switch (grid.kind) {
    case 'codebook':
      return [`GGUF holds ${HELD_GRIDS}; not ${gridText(grid)}`];
    case 'k-quant':
      if (inFeatures % SUPER_BLOCK !== 0)
        return [`in_features ${inFeatures} is not a multiple of ${SUPER_BLOCK}, the block of ${grid.type}`];
      return grid.type === 'q4_k' ? 'Q4_K' : 'Q6_K';
    case 'affine':
    case 'affine-min':
      return affineType(grid, inFeatures);
    default:
      return grid satisfies never;
  }
}

function affineType(
  grid: Extract<Grid, { kind: 'affine' | 'affine-min' }>,
  inFeatures: number,
): WritableBlockType | readonly string[] {
  const { kind, bits, groupSize, symmetric, reordered, scaleDType } = grid;
  const type = kind === 'affine' ? SYMMETRIC[bits] : WITH_MIN[bits];
  const problems = [
    ...(type === undefined || (kind === 'affine' && !symmetric)
      ? [`GGUF holds ${HELD_GRIDS}; not ${gridText(grid)}`]
      : []),
    ...(groupSize % SIMPLE_BLOCK === 0
      ? []
      : [`groups of ${groupSize} columns are not whole blocks of ${SIMPLE_BLOCK}`]),
    ...(inFeatures % SIMPLE_BLOCK === 0
      ? []
      : [`in_features ${inFeatures} is not a multiple of ${SIMPLE_BLOCK}, the block of GGUF's types`]),
    ...(reordered ? ['GGUF holds groups of neighbouring columns: quantize without act-order groups'] : []),
    ...(scaleDType === 'F16' ? [] : [`GGUF holds float16 scales, these need ${scaleDType}`]),
  ];
  return type === undefined || problems.length > 0 ? problems : type;
}

const SYMMETRIC: Readonly<Partial<Record<number, WritableBlockType>>> = { 4: 'Q4_0', 5: 'Q5_0', 8: 'Q8_0' };
const WITH_MIN: Readonly<Partial<Record<number, WritableBlockType>>> = { 4: 'Q4_1', 5: 'Q5_1' };
