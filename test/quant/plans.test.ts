// Plan: the pure parts. Column plans cover every column once and keep leaves inside aligned blocks; orders are what
// they say; group maps of each order; chunks of rows; reasons why a shape is unfit.
import { describe, expect, it } from 'vitest';
import { planColumns, windowWidth } from '../../src/quant/column-plan.js';
import type { ColumnRange } from '../../src/quant/column-plan.js';
import { planGroups } from '../../src/quant/group-map.js';
import { invertOrder, processingOrder } from '../../src/quant/order.js';
import { planRowChunks } from '../../src/quant/row-chunks.js';
import { groupSizeProblem, shapeProblems } from '../../src/quant/shape.js';
import { DEFAULT_SPEC } from './problem.js';

function leavesOf(range: ColumnRange): ColumnRange[] {
  return range.children.length === 0 ? [range] : range.children.flatMap(leavesOf);
}

function groupsOf(range: ColumnRange): ColumnRange[] {
  return [...(range.opensGroup ? [range] : []), ...range.children.flatMap(groupsOf)];
}

describe('planColumns', () => {
  it.each([
    [96, undefined],
    [1000, undefined],
    [1056, 16],
    [1056, 48],
    [1280, 128],
    [1280, 320],
    [2048, 1024],
    [1280, 256],
  ])('%d columns, dynamic groups of %s', (columns, group) => {
    const windows = planColumns(columns, group);
    const leaves = windows.flatMap(leavesOf);
    let next = 0;
    for (const { start, end } of leaves) {
      expect(start).toBe(next);
      expect(end).toBeGreaterThan(start);
      expect(Math.floor((end - 1) / 128)).toBe(Math.floor(start / 128));
      next = end;
    }
    expect(next).toBe(columns);
    expect(Math.max(...windows.map(({ start, end }) => end - start))).toBe(windowWidth(columns, group));
    const groups = windows.flatMap(groupsOf);
    expect(groups.map(({ start }) => start)).toEqual(
      group === undefined ? [] : Array.from({ length: columns / group }, (_, g) => g * group),
    );
    expect(groups.every(({ start, end }) => end - start === group)).toBe(true);
  });
});

describe('processingOrder', () => {
  const diagonal = Float32Array.of(1, 5, 3, 5, 0, 9, 2, 2);

  it('act: by decreasing diagonal, equals and dead columns (as 1) in place', () => {
    expect(Array.from(processingOrder('act', diagonal, 4) ?? [])).toEqual([5, 1, 3, 2, 6, 7, 0, 4]);
  });

  it('group-aware: groups by decreasing mean, then inside each', () => {
    expect(Array.from(processingOrder('group-aware', diagonal, 4) ?? [])).toEqual([1, 3, 2, 0, 5, 6, 7, 4]);
    expect(Array.from(processingOrder('group-aware', diagonal, 2) ?? [])).toEqual([5, 4, 3, 2, 1, 0, 6, 7]);
  });

  it('natural: none', () => {
    expect(processingOrder('natural', diagonal, 4)).toBeUndefined();
  });

  it('invertOrder undoes it', () => {
    const order = Uint32Array.of(5, 1, 3, 2, 6, 7, 0, 4);
    const positions = invertOrder(order);
    order.forEach((column, position) => {
      expect(positions[column]).toBe(position);
    });
  });
});

describe('planGroups', () => {
  const order = Uint32Array.of(3, 0, 2, 1);
  const plan = (changes: object): ReturnType<typeof planGroups> =>
    planGroups({ ...DEFAULT_SPEC, ...changes }, 4, 2, order);

  it('act-order with dynamic groups scatters g_idx', () => {
    const map = plan({ order: 'act' });
    expect(Array.from(map.ofPosition)).toEqual([0, 0, 1, 1]);
    expect(Array.from(map.ofColumn)).toEqual([0, 1, 1, 0]);
    expect(Array.from(map.rtnOfPosition)).toEqual([1, 0, 1, 0]);
    expect(map.dynamicGroup).toBe(2);
  });

  it('static groups keep it in runs', () => {
    const map = plan({ order: 'act', staticGroups: true });
    expect(Array.from(map.ofPosition)).toEqual([1, 0, 1, 0]);
    expect(Array.from(map.ofColumn)).toEqual([0, 0, 1, 1]);
    expect(map.dynamicGroup).toBeUndefined();
  });
});

describe('planRowChunks', () => {
  it('covers the rows and keeps to both limits', () => {
    const limits = { workBytes: 6400, maxTensorBytes: 1e9 };
    expect(planRowChunks(150, 100, 10, limits)).toEqual([
      { first: 0, rows: 64 },
      { first: 64, rows: 64 },
      { first: 128, rows: 22 },
    ]);
    expect(planRowChunks(5, 1e9, 10, limits)).toEqual([{ first: 0, rows: 5 }]);
    expect(planRowChunks(5, 1, 10, { workBytes: 1e9, maxTensorBytes: 80 })).toHaveLength(3);
    expect(() => planRowChunks(5, 1, 10, { workBytes: 1e9, maxTensorBytes: 39 })).toThrow(/one weight row/);
  });
});

describe('shapeProblems', () => {
  it('has none for good shapes', () => {
    expect(shapeProblems(DEFAULT_SPEC, { outFeatures: 32, inFeatures: 256 })).toEqual([]);
    expect(shapeProblems({ ...DEFAULT_SPEC, groupSize: -1 }, { outFeatures: 32, inFeatures: 96 })).toEqual(
      [],
    );
  });

  it.each([0, -2, 8, 17, 24.5, 2048, NaN])('refuses group size %d', (groupSize) => {
    expect(groupSizeProblem(groupSize)).toContain(`group size ${groupSize}`);
  });

  it('says when the codes are too big for the device', () => {
    const problems = shapeProblems(DEFAULT_SPEC, { outFeatures: 256, inFeatures: 256 }, 32767);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('32768 bytes');
  });
});
