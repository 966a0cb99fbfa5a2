import type { AffineGrid } from '../../../engine/quant.js';
import type { Tensor } from '../../../engine/tensor.js';
import type { Checks } from '../view-checks.js';

/**
 * Scales and zeros belong to `rows` rows and agree in shape, and group_of covers columns [firstColumn,
 * firstColumn + cols). Returns the number of groups G and the largest code.
 */
export function checkGrid(
  checks: Checks,
  grid: AffineGrid & { readonly groupOf: Tensor; readonly firstColumn: number },
  rows: number,
  cols: number,
): { readonly groups: number; readonly top: number } {
  const groups = grid.scales.shape[1] ?? 0;
  checks.that(
    groups > 0,
    `scales "${grid.scales.label}" is [${grid.scales.shape.join(', ')}], expected [N, G]`,
  );
  checks.shape('scales', grid.scales, [rows, groups], 'f32');
  checks.shape('zeros', grid.zeros, [rows, groups], 'f32');
  checks.vector('groupOf', grid.groupOf, grid.firstColumn + cols, 'u32');
  return { groups, top: 2 ** grid.bits - 1 };
}
