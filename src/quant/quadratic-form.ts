/**
 * Row by row, d·H·dᵀ for the rows d of a matrix D [N, K]: losses and output energies (quant/README.md section 2, step 8).
 * With the factor at hand it is ‖d·Lᵀ‖² − shift·‖d‖², which costs N·K²/2 multiply-adds; where the diagonal was floored,
 * the exact form from H itself, N·K².
 */
import type { Engine } from '../engine/engine.js';
import { readReals } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { TensorScope } from '../engine/panels.js';
import { colRange, rowRange, asMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { planColumns } from './column-plan.js';
import type { ColumnRange } from './column-plan.js';
import type { Factor } from './factor.js';
import { gemmBounded } from './gemm-bounded.js';
import type { Hessian } from './hessian.js';
import { mirroredBlock, residualGradient, uploadDiagonal } from './residual-gradient.js';
import { sumReals } from './reals.js';
import type { SquarePanels } from './square-panels.js';
import { strips } from './square-panels.js';

/** c ← Σ over columns [from, to) of d·L[rows, from … to)ᵀ (+ c): what errors before a range carry into it. */
export function addCarried(
  engine: Engine,
  square: SquarePanels,
  options: {
    readonly d: MatrixView;
    readonly from: number;
    readonly to: number;
    /** First row of L, that is first column of the range. */
    readonly row: number;
    readonly c: MatrixView;
    readonly alpha?: number;
    readonly beta: 0 | 1;
  },
): void {
  const { d, from, to, row, c } = options;
  for (const { start, end, view } of strips(square, [row, row + c.cols], [from, to]))
    gemmBounded(engine, {
      a: colRange(d, from, to - from),
      b: view,
      c: colRange(c, start - row, end - start),
      transB: true,
      alpha: options.alpha ?? 1,
      beta: options.beta,
    });
}

/** Σ over the rows of d·H·dᵀ, read back and summed in float64; not below 0. */
export async function quadraticForm(
  engine: Engine,
  hessian: Hessian,
  factor: Factor,
  d: MatrixView,
): Promise<number> {
  const scope = new TensorScope(engine);
  try {
    const forms = scope.create([d.rows], 'quadratic form', { zero: true });
    if (factor.diagonalFloor !== undefined) {
      addExactForms(engine, hessian, { d, forms, scope });
      return Math.max(0, sumReals(await readReals(engine, forms)));
    }
    addFactoredForms(engine, hessian, factor, { d, forms, scope });
    return await undamped(engine, factor, d, forms);
  } finally {
    scope.dispose();
  }
}

/** The same from H itself, for a Hessian that is not factored. */
export async function exactForm(engine: Engine, hessian: Hessian, d: MatrixView): Promise<number> {
  const scope = new TensorScope(engine);
  try {
    const forms = scope.create([d.rows], 'quadratic form', { zero: true });
    addExactForms(engine, hessian, { d, forms, scope });
    return Math.max(0, sumReals(await readReals(engine, forms)));
  } finally {
    scope.dispose();
  }
}

/** Takes the damping's part, shift·‖d‖², out of losses summed with the damped H. */
export async function undamped(
  engine: Engine,
  factor: Factor,
  d: MatrixView,
  forms: Tensor,
): Promise<number> {
  const norms = engine.create([d.rows], 'f32', 'row norms', { zero: true });
  engine.addRowDots({ x: d, y: d, to: norms });
  const damping = factor.shift * sumReals(await readReals(engine, norms));
  engine.free(norms);
  return Math.max(0, sumReals(await readReals(engine, forms)) - damping);
}

interface FormTarget {
  readonly d: MatrixView;
  /** f32 [N], added to. */
  readonly forms: Tensor;
  readonly scope: TensorScope;
}

function addFactoredForms(
  engine: Engine,
  hessian: Hessian,
  factor: Factor,
  { d, forms, scope }: FormTarget,
): void {
  const { square } = hessian;
  const windows = planColumns(square.size);
  const scratch = asMatrix(scope.create([d.rows, windows[0].end], 'form window'));
  const blocks = asMatrix(factor.diagonalBlocks);
  for (const window of windows) {
    const p = colRange(scratch, 0, window.end - window.start);
    if (window.start > 0)
      addCarried(engine, square, { d, from: 0, to: window.start, row: window.start, c: p, beta: 0 });
    for (const { start, end } of window.children) {
      const c = colRange(p, start - window.start, end - start);
      engine.gemm({
        a: colRange(d, start, end - start),
        b: colRange(rowRange(blocks, start, end - start), 0, end - start),
        c,
        beta: window.start > 0 ? 1 : 0,
      });
      if (start > window.start)
        addCarried(engine, square, { d, from: window.start, to: start, row: start, c, beta: 1 });
    }
    engine.addRowDots({ x: p, y: p, to: forms });
  }
}

function addExactForms(engine: Engine, hessian: Hessian, { d, forms, scope }: FormTarget): void {
  const diagonal = scope.own(uploadDiagonal(engine, hessian));
  const mirror = asMatrix(scope.create([MAX_BLOCK, MAX_BLOCK], 'mirrored block'));
  const gradient = asMatrix(scope.create([d.rows, MAX_BLOCK], 'form gradient'));
  const blocks = planColumns(hessian.square.size).flatMap(
    (window): readonly ColumnRange[] => window.children,
  );
  for (const block of blocks) {
    const h = mirroredBlock(engine, hessian.square, block, diagonal, mirror);
    const g = colRange(gradient, 0, block.end - block.start);
    residualGradient(engine, hessian.square, { d, block, h, gradient: g });
    engine.addRowDots({ x: g, y: colRange(d, block.start, block.end - block.start), to: forms });
  }
}
