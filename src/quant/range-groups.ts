import type { GridRule, KQuantType } from '../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import type { AffineGrid, ColumnCosts } from '../engine/quant.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import type { QuantSpec } from './records.js';

/** A grid under construction; `blocks` as in superBlockRange, for k-quants only. */
export interface GridTensors extends AffineGrid {
  readonly blocks: Tensor | undefined;
}

export function isKQuant(rule: GridRule): rule is KQuantType {
  return rule === 'q4_k' || rule === 'q6_k';
}

/** Columns whose scales are made together: a group, or a super-block of groups. */
export function rangeUnit(rule: GridRule, groupSize: number): number {
  return isKQuant(rule) ? SUPER_BLOCK : groupSize;
}

/** Rules whose ranges can use what an error in a column costs. */
export function usesImportance({ rule, range }: Pick<QuantSpec, 'rule' | 'range'>): boolean {
  return isKQuant(rule) || (range === 'mse' && (rule === 'signed' || rule === 'min'));
}

/** Scales and zeros of the groups of w [N, cols], written from column firstGroup on (quant/README.md section 1). */
export function rangeGroups(
  engine: Engine,
  options: {
    readonly spec: QuantSpec;
    readonly w: MatrixView;
    readonly groupSize: number;
    readonly grid: GridTensors;
    readonly firstGroup: number;
    readonly importance: ColumnCosts | undefined;
  },
): void {
  const { spec, w, groupSize, grid, firstGroup, importance } = options;
  const { rule, range, minZero } = spec;
  const { bits, scales, zeros, blocks } = grid;
  if (!isKQuant(rule)) {
    const start = range === 'hqq' ? 'minmax' : range;
    engine.groupRange({
      ...{ w, bits, groupSize, rule, minZero, scales, zeros, firstGroup, importance },
      range: start,
    });
    const zeroKind = rule === 'min' ? 'half-min' : 'integer';
    if (range === 'hqq') engine.hqqZeros({ w, bits, groupSize, zeroKind, scales, zeros, firstGroup });
  } else if (blocks !== undefined) {
    const firstBlock = (firstGroup * K_QUANTS[rule].subBlock) / SUPER_BLOCK;
    engine.superBlockRange({ type: rule, w, importance, scales, zeros, blocks, firstBlock });
  }
}
