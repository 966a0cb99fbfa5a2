/**
 * One reverse Cholesky factorisation instead of GPTQ's factor, invert, factor (quant/README.md section 2, step 4):
 * H = Lᵀ·L with L lower triangular, from the last rows to the first, blocked and left-looking so that nearly all work
 * is matrix products with long inner dimensions. L goes below the diagonal of the square that holds H above it.
 * Memory beyond the square: (SUPER + 2·MAX_BLOCK)·K elements.
 */
import type { Engine } from '../engine/engine.js';
import { readReals } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { TensorScope } from '../engine/panels.js';
import { asMatrix, subMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { gemmBounded } from './gemm-bounded.js';
import type { Reals } from './reals.js';
import type { SquarePanels } from './square-panels.js';
import { blockView, strips } from './square-panels.js';

/** Rows brought up to date by one product with everything below them; wide enough to fill a GPU. */
const SUPER = 512;

/** What made H factorable, and the factor's diagonal blocks. */
export interface Factor {
  readonly kind: 'factor';
  /** Damping as a share of the mean diagonal. */
  readonly damp: number;
  /** Damping shares tried, the successful one last. */
  readonly dampTried: readonly number[];
  /** λ·mean(diag H), added to every diagonal element. */
  readonly shift: number;
  /** Least diagonal element allowed, where damping alone did not do. */
  readonly diagonalFloor?: number;
  /**
   * f32 [K, MAX_BLOCK]: for each aligned block, R = Lᵀ of its diagonal block, zeros below the diagonal. The square
   * itself cannot give a clean triangle, since H lies above it.
   */
  readonly diagonalBlocks: Tensor;
}

/** Working memory of one factorisation, and the vector to factor with. */
interface Workspace {
  readonly engine: Engine;
  readonly square: SquarePanels;
  /** f32 [K]: the damped diagonal. */
  readonly diagonal: Tensor;
  /** f32 [SUPER, K]: rows of the current super-block; meaningful up to the diagonal. */
  readonly rows: MatrixView;
  /** f32 [MAX_BLOCK, K]: rows of the current block. */
  readonly block: MatrixView;
  /** f32 [MAX_BLOCK, MAX_BLOCK]. */
  readonly corner: MatrixView;
  readonly diagonalBlocks: MatrixView;
  readonly failures: Tensor;
}

/** Rows [start, end) of the square. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Factors the square's upper triangle with the given damped diagonal (f32 [K], on the engine). True when every pivot
 * was positive and finite; otherwise the lower triangle is meaningless, H above it unharmed.
 */
export async function factorOnce(
  engine: Engine,
  square: SquarePanels,
  diagonal: Tensor,
  diagonalBlocks: Tensor,
): Promise<boolean> {
  const { size } = square;
  const scope = new TensorScope(engine);
  try {
    const work: Workspace = {
      engine,
      square,
      diagonal,
      rows: asMatrix(scope.create([Math.min(SUPER, square.panels[0].end), size], 'factor rows')),
      block: asMatrix(scope.create([Math.min(MAX_BLOCK, size), size], 'factor block')),
      corner: asMatrix(scope.create([MAX_BLOCK, MAX_BLOCK], 'factor corner')),
      diagonalBlocks: asMatrix(diagonalBlocks),
      failures: scope.own(engine.create([1], 'u32', 'cholesky failures', { zero: true })),
    };
    const supers = strips(square, [0, size], [0, 0], SUPER).reverse();
    for (const span of supers) factorSuperBlock(work, span);
    return await pivotsAreGood(work, scope);
  } finally {
    scope.dispose();
  }
}

function factorSuperBlock(work: Workspace, span: Span): void {
  const { engine, square, rows } = work;
  const { start, end } = span;
  const count = end - start;
  // Rows of H up to their diagonal are columns of the stored upper triangle.
  for (const strip of strips(square, [0, end], [start, end]))
    engine.transpose({
      from: strip.view,
      to: subMatrix(rows, 0, count, strip.start, strip.end - strip.start),
    });
  engine.setDiagonal({
    from: work.diagonal,
    fromOffset: start,
    to: subMatrix(rows, 0, count, start, count),
  });
  const below: [number, number] = [end, square.size];
  const factors = strips(square, below, [start, end]);
  strips(square, below, [0, end]).forEach((strip, i) => {
    gemmBounded(engine, {
      a: factors[i].view,
      b: strip.view,
      c: subMatrix(rows, 0, count, 0, end),
      transA: true,
      alpha: -1,
      beta: 1,
    });
  });
  const firstBlock = Math.floor((end - 1 - start) / MAX_BLOCK) * MAX_BLOCK + start;
  for (let block = firstBlock; block >= start; block -= MAX_BLOCK)
    factorBlock(work, span, { start: block, end: Math.min(block + MAX_BLOCK, end) });
}

function factorBlock(work: Workspace, span: Span, { start, end }: Span): void {
  const { engine, square, rows, diagonalBlocks } = work;
  const count = end - start;
  const row = start - span.start;
  const block = subMatrix(work.block, 0, count, 0, end);
  engine.copy({ from: subMatrix(rows, row, count, 0, end), to: block });
  const later = span.end - end;
  if (later > 0)
    engine.gemm({
      a: subMatrix(rows, row + count, later, start, count),
      b: subMatrix(rows, row + count, later, 0, end),
      c: block,
      transA: true,
      alpha: -1,
      beta: 1,
    });
  const corner = subMatrix(work.corner, 0, count, 0, count);
  engine.copy({ from: subMatrix(block, 0, count, start, count), to: corner });
  engine.choleskyBlock({ block: corner, failures: work.failures });
  const clean = subMatrix(diagonalBlocks, start, count, 0, count);
  engine.transpose({ from: corner, to: clean, triangle: { part: 'upper', rowOffset: 0 } });
  engine.transpose({
    from: clean,
    to: blockView(square, [start, end], [start, end]),
    triangle: { part: 'lower', rowOffset: 0 },
  });
  if (start === 0) return;
  const left = subMatrix(block, 0, count, 0, start);
  engine.solveLeft({ l: corner, x: left });
  engine.copy({ from: left, to: subMatrix(rows, row, count, 0, start) });
  engine.copy({ from: left, to: blockView(square, [start, end], [0, start]) });
}

async function pivotsAreGood(work: Workspace, scope: TensorScope): Promise<boolean> {
  const { engine, square, diagonalBlocks } = work;
  const pivots = scope.create([square.size], 'factor pivots');
  for (let start = 0; start < square.size; start += MAX_BLOCK) {
    const count = Math.min(MAX_BLOCK, square.size - start);
    engine.getDiagonal({
      from: subMatrix(diagonalBlocks, start, count, 0, count),
      to: pivots,
      toOffset: start,
    });
  }
  const values = await readReals(engine, pivots);
  const failures = (await engine.read(work.failures))[0];
  return failures === 0 && values.every((pivot) => Number.isFinite(pivot) && pivot > 0);
}

/** The diagonal of L, in processing order. */
export async function readPivots(engine: Engine, factor: Factor, columns: number): Promise<Reals> {
  const pivots = engine.create([columns], 'f32', 'pivots');
  const blocks = asMatrix(factor.diagonalBlocks);
  for (let start = 0; start < columns; start += MAX_BLOCK) {
    const count = Math.min(MAX_BLOCK, columns - start);
    engine.getDiagonal({ from: subMatrix(blocks, start, count, 0, count), to: pivots, toOffset: start });
  }
  const host = await readReals(engine, pivots);
  engine.free(pivots);
  return host;
}
