/** Products with the undamped H, of which only the part above the diagonal and a vector are stored. */
import type { Engine } from '../engine/engine.js';
import { colRange, subMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { gemmBounded } from './gemm-bounded.js';
import type { Hessian } from './hessian.js';
import type { SquarePanels } from './square-panels.js';
import { blockView, strips } from './square-panels.js';

/** An aligned block of columns, at most MAX_BLOCK. */
interface Block {
  readonly start: number;
  readonly end: number;
}

/** diag(H), undamped, in processing order, as a tensor the caller frees. */
export function uploadDiagonal(engine: Engine, hessian: Hessian): Tensor {
  return engine.upload(hessian.diagonal, [hessian.square.size], 'f32', 'hessian diagonal');
}

/** H[block, block] whole, written into the corner of `scratch` [MAX_BLOCK, MAX_BLOCK]. */
export function mirroredBlock(
  engine: Engine,
  square: SquarePanels,
  block: Block,
  diagonal: Tensor,
  scratch: MatrixView,
): MatrixView {
  const count = block.end - block.start;
  const stored = blockView(square, [block.start, block.end], [block.start, block.end]);
  const whole = subMatrix(scratch, 0, count, 0, count);
  engine.transpose({ from: stored, to: whole, triangle: { part: 'lower', rowOffset: 0 } });
  engine.transpose({ from: whole, to: whole, triangle: { part: 'upper', rowOffset: 0 } });
  engine.setDiagonal({ from: diagonal, fromOffset: block.start, to: whole });
  return whole;
}

/** gradient [N, block] ← D·H[:, block], with h = H[block, block] from mirroredBlock. */
export function residualGradient(
  engine: Engine,
  square: SquarePanels,
  options: {
    readonly d: MatrixView;
    readonly block: Block;
    readonly h: MatrixView;
    readonly gradient: MatrixView;
  },
): void {
  const { d, block, h, gradient } = options;
  const { start, end } = block;
  engine.gemm({ a: colRange(d, start, end - start), b: h, c: gradient });
  for (const strip of strips(square, [0, start], [start, end]))
    gemmBounded(engine, {
      a: colRange(d, strip.start, strip.end - strip.start),
      b: strip.view,
      c: gradient,
      beta: 1,
    });
  if (end < square.size)
    gemmBounded(engine, {
      a: colRange(d, end, square.size - end),
      b: blockView(square, [start, end], [end, square.size]),
      c: gradient,
      transB: true,
      beta: 1,
    });
}
