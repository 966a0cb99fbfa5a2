import type { GemmOptions, LinalgOps } from '../engine/linalg.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { addRowDots } from './linalg/add-row-dots.js';
import { choleskyBlock } from './linalg/cholesky-block.js';
import { countNonFiniteRows } from './linalg/count-non-finite-rows.js';
import { getDiagonal, setDiagonal } from './linalg/diagonal.js';
import { multiplyAddChain } from './linalg/multiply-add-chain.js';
import { multiply } from './linalg/multiply.js';
import { scale } from './linalg/scale.js';
import { scaleLines } from './linalg/scale-lines.js';
import { solveLeftBlocked } from './linalg/solve-left-blocked.js';
import { solveRightBlocked } from './linalg/solve-right-blocked.js';
import { transpose } from './linalg/transpose.js';
import { OpCheck } from './op-check.js';
import { dense, realColumn, reals, words } from './op-context.js';
import type { OpContext } from './op-context.js';
import { copyMatrix } from './tensor/copy.js';

const REAL = ['f32'] as const;
const DENSE = ['f32', 'f16', 'bf16'] as const;

function recordGemm(context: OpContext, options: GemmOptions): void {
  const { a, b, c, transA = false, transB = false, alpha = 1, beta = 0, triangle } = options;
  const k = transA ? a.rows : a.cols;
  new OpCheck('gemm', context)
    .that(!(transA && transB), 'transA and transB together')
    .view('a', a, REAL)
    .view('b', b, REAL)
    .view('c', c, REAL, transA ? a.cols : a.rows, transB ? b.rows : b.cols)
    .equal('inner dimension of b', transB ? b.cols : b.rows, k)
    .done();
  context.record(() =>
    multiply(context, {
      a: reals(a),
      b: reals(b),
      c: reals(c),
      transA,
      transB,
      alpha,
      beta,
      ...(triangle === undefined ? {} : { triangle }),
    }),
  );
}

function factorOps(context: OpContext): Pick<LinalgOps, 'choleskyBlock' | 'solveLeft' | 'solveRight'> {
  return {
    choleskyBlock({ block, failures }) {
      new OpCheck('choleskyBlock', context)
        .view('block', block, REAL, block.cols)
        .most('block size', block.rows, MAX_BLOCK)
        .tensor('failures', failures, ['u32'], 1)
        .done();
      context.record(() => {
        words(failures)[0] += choleskyBlock(reals(block));
      });
    },
    solveLeft({ l, x }) {
      new OpCheck('solveLeft', context)
        .view('l', l, REAL, x.rows, x.rows)
        .view('x', x, REAL)
        .most('block size', x.rows, MAX_BLOCK)
        .done();
      context.record(() => solveLeftBlocked(context, reals(l), reals(x)));
    },
    solveRight({ l, x }) {
      new OpCheck('solveRight', context)
        .view('l', l, REAL, x.cols, x.cols)
        .view('x', x, REAL)
        .most('block size', x.cols, MAX_BLOCK)
        .done();
      context.record(() => solveRightBlocked(context, reals(l), reals(x)));
    },
  };
}

function elementOps(
  context: OpContext,
): Pick<
  LinalgOps,
  'multiplyAddChain' | 'transpose' | 'scale' | 'scaleLines' | 'getDiagonal' | 'setDiagonal' | 'copy'
> {
  return {
    multiplyAddChain({ x, rounds }) {
      new OpCheck('multiplyAddChain', context).tensor('x', x, REAL).done();
      context.record(() => multiplyAddChain(realColumn(x).data, rounds));
    },
    transpose({ from, to, triangle }) {
      new OpCheck('transpose', context)
        .view('from', from, REAL)
        .view('to', to, REAL, from.cols, from.rows)
        .done();
      context.record(() => transpose(reals(from), reals(to), triangle));
    },
    scale({ x, factor, triangle }) {
      new OpCheck('scale', context).view('x', x, REAL).done();
      context.record(() => scale(reals(x), factor, triangle));
    },
    scaleLines({ x, factors, axis }) {
      new OpCheck('scaleLines', context)
        .view('x', x, REAL)
        .tensor('factors', factors, REAL, axis === 'rows' ? x.rows : x.cols)
        .done();
      context.record(() => scaleLines(reals(x), realColumn(factors).data, axis));
    },
    getDiagonal({ from, to, toOffset }) {
      new OpCheck('getDiagonal', context)
        .view('from', from, REAL, from.cols)
        .tensor('to', to, REAL, toOffset + from.rows)
        .done();
      context.record(() => getDiagonal(reals(from), realColumn(to).data, toOffset));
    },
    setDiagonal({ from, fromOffset, to }) {
      new OpCheck('setDiagonal', context)
        .view('to', to, REAL, to.cols)
        .tensor('from', from, REAL, fromOffset + to.rows)
        .done();
      context.record(() => setDiagonal(realColumn(from).data, fromOffset, reals(to)));
    },
    copy({ from, to }) {
      new OpCheck('copy', context)
        .view('from', from, DENSE)
        .view('to', to, REAL, from.rows, from.cols)
        .done();
      context.record(() => copyMatrix(dense(from), reals(to)));
    },
  };
}

function sumOps(context: OpContext): Pick<LinalgOps, 'addRowDots' | 'countNonFiniteRows'> {
  return {
    addRowDots({ x, y, to }) {
      new OpCheck('addRowDots', context)
        .view('x', x, REAL)
        .view('y', y, REAL, x.rows, x.cols)
        .tensor('to', to, REAL, x.rows)
        .done();
      context.record(() => addRowDots(reals(x), reals(y), realColumn(to).data));
    },
    countNonFiniteRows({ x, count }) {
      new OpCheck('countNonFiniteRows', context).view('x', x, REAL).tensor('count', count, ['u32'], 1).done();
      context.record(() => {
        words(count)[0] += countNonFiniteRows(reals(x));
      });
    },
  };
}

/** The linear algebra of the contract: checks at the call, work in call order. */
export function createLinalgOps(context: OpContext): LinalgOps {
  return {
    gemm: (options) => recordGemm(context, options),
    ...factorOps(context),
    ...elementOps(context),
    ...sumOps(context),
  };
}
