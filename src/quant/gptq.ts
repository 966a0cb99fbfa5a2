/**
 * GPTQ's column loop over the engine's operations (quant/README.md section 2, steps 5 to 7): left-looking, so that W is
 * never changed and everything outside a block is a matrix product. Works on some rows of a layer; memory beyond its
 * arguments: rows·(window + 2·MAX_BLOCK + g) elements.
 */
import type { Engine } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { TensorScope } from '../engine/panels.js';
import type { ColumnCosts } from '../engine/quant.js';
import { asMatrix, colRange } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { planColumns, windowWidth } from './column-plan.js';
import type { ColumnRange } from './column-plan.js';
import { addCarried } from './quadratic-form.js';
import { rangeGroups } from './range-groups.js';
import type { GridTensors } from './range-groups.js';
import type { QuantSpec } from './records.js';
import type { SquarePanels } from './square-panels.js';
import { blockView } from './square-panels.js';

export interface GptqRows {
  readonly square: SquarePanels;
  readonly spec: QuantSpec;
  /** Columns whose scales are made together on the way: a group or a super-block of groups. Undefined when grid.scales and grid.zeros are final already. */
  readonly dynamicGroup: number | undefined;
  /** [rows, K] in processing order, any dense dtype; dead columns zero. */
  readonly w: MatrixView;
  /** f32 [rows, K]: receives E = W − Q. */
  readonly error: MatrixView;
  /** u8 [rows, K]: receives the codes, in processing order. */
  readonly codes: MatrixView;
  readonly grid: GridTensors;
  /** Columns per group. */
  readonly groupSize: number;
  /** f32 [K] in processing order: what an error in a column costs. */
  readonly costs: Tensor | undefined;
  /** Group of the column at each position, on the host and on the engine (u32 [K]). */
  readonly groupOfPosition: Uint32Array;
  readonly groupOf: Tensor;
  /** f32 [rows]: losses with the damped H are added. */
  readonly losses: Tensor;
}

interface Scratch {
  /** f32 [rows, window]: carried error T of the current window. */
  readonly carried: MatrixView;
  /** f32 [rows, MAX_BLOCK]. */
  readonly block: MatrixView;
  readonly correction: MatrixView;
  /** f32 [rows, dynamicGroup] where groups are dynamic. */
  readonly corrected: MatrixView | undefined;
}

/** Bytes per row of the scratch that gptqRows makes. */
export function gptqScratchBytes(columns: number, dynamicGroup: number | undefined): number {
  return 4 * (windowWidth(columns, dynamicGroup) + 2 * MAX_BLOCK + (dynamicGroup ?? 0));
}

export function gptqRows(engine: Engine, job: GptqRows): void {
  const { square, dynamicGroup, w } = job;
  const scope = new TensorScope(engine);
  const matrix = (cols: number, label: string): MatrixView =>
    asMatrix(scope.create([w.rows, cols], label, { zero: true }));
  try {
    const scratch: Scratch = {
      carried: matrix(windowWidth(square.size, dynamicGroup), 'gptq carried'),
      block: matrix(Math.min(MAX_BLOCK, square.size), 'gptq block'),
      correction: matrix(Math.min(MAX_BLOCK, square.size), 'gptq correction'),
      corrected: dynamicGroup === undefined ? undefined : matrix(dynamicGroup, 'gptq corrected'),
    };
    for (const window of planColumns(square.size, dynamicGroup)) {
      const carried = colRange(scratch.carried, 0, window.end - window.start);
      // The first window carries nothing; its scratch is still zero.
      if (window.start > 0)
        addCarried(engine, square, {
          d: job.error,
          from: 0,
          to: window.start,
          row: window.start,
          c: carried,
          beta: 0,
        });
      visit(engine, job, scratch, window, carried);
    }
  } finally {
    scope.dispose();
  }
}

/** Quantizes `range`; `carried` [rows, range] holds the error carried from every column before it. */
function visit(
  engine: Engine,
  job: GptqRows,
  scratch: Scratch,
  range: ColumnRange,
  carried: MatrixView,
): void {
  if (range.opensGroup) rangeOfGroup(engine, job, scratch, range, carried);
  if (range.children.length === 0) quantizeLeaf(engine, job, scratch, range, carried);
  for (const child of range.children) {
    const c = colRange(carried, child.start - range.start, child.end - child.start);
    if (child.start > range.start)
      addCarried(engine, job.square, {
        d: job.error,
        from: range.start,
        to: child.start,
        row: child.start,
        c,
        beta: 1,
      });
    visit(engine, job, scratch, child, c);
  }
}

function quantizeLeaf(
  engine: Engine,
  job: GptqRows,
  scratch: Scratch,
  { start, end }: ColumnRange,
  carried: MatrixView,
): void {
  const w = colRange(scratch.block, 0, end - start);
  engine.copy({ from: colRange(job.w, start, end - start), to: w });
  engine.gptqBlock({
    ...job.grid,
    w,
    carried,
    l: blockView(job.square, [start, end], [start, end]),
    groupOf: job.groupOf,
    firstColumn: start,
    error: colRange(job.error, start, end - start),
    codes: colRange(job.codes, start, end - start),
    losses: job.losses,
  });
}

export function importanceFrom(costs: Tensor | undefined, firstColumn: number): ColumnCosts | undefined {
  return costs === undefined ? undefined : { costs, firstColumn };
}

/**
 * Scale and zero from the weights as corrected at the group's first column: C = W[:, group] + X, X·R[group, group] = T,
 * solved block by block. X stands meanwhile where the group's errors will be written.
 */
function rangeOfGroup(
  engine: Engine,
  job: GptqRows,
  scratch: Scratch,
  range: ColumnRange,
  carried: MatrixView,
): void {
  if (scratch.corrected === undefined) return;
  const { start, end } = range;
  const { square, spec, grid } = job;
  engine.copy({ from: colRange(job.w, start, end - start), to: scratch.corrected });
  const pieces = range.children.length === 0 ? [range] : range.children;
  for (const piece of start === 0 ? [] : pieces) {
    const cols = piece.end - piece.start;
    const x = colRange(scratch.correction, 0, cols);
    engine.copy({ from: colRange(carried, piece.start - start, cols), to: x });
    if (piece.start > start)
      addCarried(engine, square, {
        d: job.error,
        from: start,
        to: piece.start,
        row: piece.start,
        c: x,
        alpha: -1,
        beta: 1,
      });
    engine.solveRight({ l: blockView(square, [piece.start, piece.end], [piece.start, piece.end]), x });
    engine.addTo({ x: colRange(scratch.corrected, piece.start - start, cols), y: x });
    if (piece.end < end) engine.copy({ from: x, to: colRange(job.error, piece.start, cols) });
  }
  rangeGroups(engine, {
    spec,
    w: scratch.corrected,
    groupSize: job.groupSize,
    grid,
    firstGroup: job.groupOfPosition[start],
    importance: importanceFrom(job.costs, start),
  });
}
