/** How GPTQ walks the columns, in processing order: nested ranges, so that most work falls into large products. */
import { MAX_BLOCK } from '../engine/linalg.js';

/** Columns that one product with everything before them brings up to date. */
const WINDOW = 512;

/**
 * Columns [start, end). Before a child is visited the carried error of its columns gets the part that its earlier
 * siblings cause; leaves are at most MAX_BLOCK wide and inside one aligned MAX_BLOCK.
 */
export interface ColumnRange {
  readonly start: number;
  readonly end: number;
  /** True for a group whose scale comes from the weights as corrected at its first column. */
  readonly opensGroup: boolean;
  readonly children: readonly ColumnRange[];
}

/** One level of the nesting: cut at multiples of `unit`. */
interface Level {
  readonly unit: number;
  readonly opensGroup: boolean;
}

/** Windows over `columns` columns. `dynamicGroup` is the group size where scales are made on the way. */
export function planColumns(columns: number, dynamicGroup?: number): ColumnRange[] {
  return cut(0, columns, levelsFor(dynamicGroup));
}

/** Width of the widest window that planColumns makes. */
export function windowWidth(columns: number, dynamicGroup?: number): number {
  return Math.min(columns, levelsFor(dynamicGroup)[0].unit);
}

function levelsFor(group: number | undefined): Level[] {
  const plain = (unit: number): Level => ({ unit, opensGroup: false });
  if (group === undefined) return [plain(WINDOW), plain(MAX_BLOCK)];
  const groups: Level = { unit: group, opensGroup: true };
  if (MAX_BLOCK % group === 0) return [plain(WINDOW), plain(MAX_BLOCK), groups];
  if (group > WINDOW / 2) return [groups, plain(MAX_BLOCK)];
  return [plain(Math.floor(WINDOW / group) * group), groups, plain(MAX_BLOCK)];
}

function cut(start: number, end: number, levels: readonly Level[]): ColumnRange[] {
  if (levels.length === 0) return [];
  const [{ unit, opensGroup }, ...inner] = levels;
  const ranges: ColumnRange[] = [];
  for (let from = start; from < end;) {
    const to = Math.min(end, (Math.floor(from / unit) + 1) * unit);
    ranges.push({ start: from, end: to, opensGroup, children: cut(from, to, inner) });
    from = to;
  }
  return ranges;
}
