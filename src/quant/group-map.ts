import { invertOrder } from './order.js';
import { rangeUnit } from './range-groups.js';
import type { QuantSpec } from './records.js';

/** Which group each column belongs to, while columns are processed and as exported. */
export interface GroupMap {
  /** Columns per group. */
  readonly groupSize: number;
  /** G. */
  readonly groups: number;
  /** Columns whose scales are made together during the column loop; undefined where all are made before it. */
  readonly dynamicGroup: number | undefined;
  /** [K]: group of the column at each position of the processing order. */
  readonly ofPosition: Uint32Array;
  /** [K]: the same for round-to-nearest, whose groups are always runs of columns as the checkpoint has them. */
  readonly rtnOfPosition: Uint32Array;
  /** [K]: group of each column as the checkpoint has them (GPTQ's g_idx). */
  readonly ofColumn: Uint32Array;
  /** [K]: positionOf[column] = position. */
  readonly positionOf: Uint32Array;
}

/**
 * Act-order with dynamic groups forms groups along the processing order, so g_idx is scattered; static groups and
 * group-aware order keep g_idx[k] = floor(k/g).
 */
export function planGroups(
  spec: QuantSpec,
  columns: number,
  groupSize: number,
  order: Uint32Array | undefined,
): GroupMap {
  const natural = Uint32Array.from({ length: columns }, (_, k) => k);
  const positionOf = order === undefined ? natural : invertOrder(order);
  const groupOfIndex = natural.map((k) => Math.floor(k / groupSize));
  const groups = columns / groupSize;
  const unit = rangeUnit(spec.rule, groupSize);
  const dynamic = spec.method === 'gptq' && !spec.staticGroups && columns > unit;
  const rtnOfPosition = (order ?? natural).map((column) => groupOfIndex[column]);
  const ofPosition = dynamic && spec.order === 'act' ? groupOfIndex : rtnOfPosition;
  return {
    groupSize,
    groups,
    dynamicGroup: dynamic ? unit : undefined,
    ofPosition,
    rtnOfPosition,
    ofColumn: positionOf.map((position) => ofPosition[position]),
    positionOf,
  };
}
