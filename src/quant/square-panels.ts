/**
 * A square matrix [K, K] cut into row panels that fit one tensor each. During GPTQ one such matrix holds two triangles:
 * strictly above the diagonal the Hessian H, below it and on the diagonal the factor L (H = Lᵀ·L), so that the memory
 * is K²·4 bytes and not twice that. The true diagonal of H lives in a vector of its own.
 */
import { Bug } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { planRowPanels } from '../engine/panels.js';
import { asMatrix, subMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';

/** Rows [start, end) of the square; tensor f32 [end − start, K]. */
export interface SquarePanel {
  readonly start: number;
  readonly end: number;
  readonly tensor: Tensor;
}

export interface SquarePanels {
  /** K. */
  readonly size: number;
  readonly panels: readonly SquarePanel[];
}

/** Rows [start, end) of the square that lie in one panel, columns as asked. */
export interface PanelStrip {
  readonly start: number;
  readonly end: number;
  readonly view: MatrixView;
}

/** Zeros. Panel borders are multiples of MAX_BLOCK, so an aligned block never straddles two panels. */
export function createSquarePanels(engine: Engine, size: number, label: string): SquarePanels {
  const plan = planRowPanels(size, size * 4, engine.maxTensorBytes, MAX_BLOCK);
  const panels = plan.map(({ start, rows }) => ({
    start,
    end: start + rows,
    tensor: engine.create([rows, size], 'f32', `${label} rows ${start}+${rows}`, { zero: true }),
  }));
  return { size, panels };
}

export function freeSquarePanels(engine: Engine, square: SquarePanels): void {
  engine.free(...square.panels.map((panel) => panel.tensor));
}

/** The rectangle rows [r0, r1) × columns [c0, c1), cut where panels meet and after at most maxRows rows. */
export function strips(
  square: SquarePanels,
  rows: readonly [number, number],
  cols: readonly [number, number],
  maxRows = Number.POSITIVE_INFINITY,
): PanelStrip[] {
  const result: PanelStrip[] = [];
  for (const panel of square.panels) {
    const last = Math.min(panel.end, rows[1]);
    for (let start = Math.max(panel.start, rows[0]); start < last; start += maxRows) {
      const end = Math.min(start + maxRows, last);
      const view = subMatrix(
        asMatrix(panel.tensor),
        start - panel.start,
        end - start,
        cols[0],
        cols[1] - cols[0],
      );
      result.push({ start, end, view });
    }
  }
  return result;
}

/** The same for rows that must lie in one panel (a block inside an aligned MAX_BLOCK × anything). */
export function blockView(
  square: SquarePanels,
  rows: readonly [number, number],
  cols: readonly [number, number],
): MatrixView {
  const found = strips(square, rows, cols);
  if (found.length !== 1)
    throw new Bug(`internal: rows ${rows[0]} … ${rows[1]} lie in ${found.length} panels`);
  return found[0].view;
}
