import { K_QUANTS, SUPER_BLOCK } from '../core/quantized-linear.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import type { AffineGrid, ColumnCosts, QuantOps } from '../engine/quant.js';
import { asMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { matrixCols } from './matrix.js';
import type { RealMatrix, Reals } from './matrix.js';
import { OpCheck } from './op-check.js';
import { bytes, realColumn, reals, runRows, words } from './op-context.js';
import type { OpContext } from './op-context.js';
import { checkAffine } from './ops-nn.js';
import { dequantize } from './quant/dequantize.js';
import { gptqBlockTiled } from './quant/gptq-block-tiled.js';
import { packCodes } from './quant/pack-codes.js';

const REAL = ['f32'] as const;
/** Nanoseconds a weight of superBlockRange and of the fits of groupRange. */
const FIT_NS = 150;

/** Checks a grid for rows of w and the columns [firstColumn, firstColumn + w.cols) of groupOf. */
function checkGrid(
  check: OpCheck,
  w: MatrixView,
  grid: AffineGrid & { readonly groupOf: Tensor; readonly firstColumn: number },
): OpCheck {
  return check
    .view('w', w, REAL)
    .view('scales', asMatrix(grid.scales), REAL, w.rows)
    .view('zeros', asMatrix(grid.zeros), REAL, w.rows, asMatrix(grid.scales).cols)
    .tensor('groupOf', grid.groupOf, ['u32'], grid.firstColumn + w.cols);
}

function checkCosts(check: OpCheck, importance: ColumnCosts | undefined, cols: number): OpCheck {
  if (importance === undefined) return check;
  return check.tensor('costs', importance.costs, REAL, importance.firstColumn + cols);
}

/** A copy: threads get it whole. */
function costsOf(importance: ColumnCosts | undefined, cols: number): Reals | undefined {
  if (importance === undefined) return undefined;
  const { costs, firstColumn } = importance;
  return realColumn(costs).data.slice(firstColumn, firstColumn + cols);
}

function gridOf(options: AffineGrid & { readonly groupOf: Tensor; readonly firstColumn: number }) {
  return {
    bits: options.bits,
    scales: reals(asMatrix(options.scales)),
    zeros: reals(asMatrix(options.zeros)),
    groupOf: words(options.groupOf),
    firstColumn: options.firstColumn,
  };
}

function rangeOps(context: OpContext): Pick<QuantOps, 'groupRange'> {
  return {
    groupRange(options) {
      const { w, bits, groupSize, rule, range, minZero, scales, zeros, firstGroup } = options;
      const groups = w.cols / groupSize;
      const check = new OpCheck('groupRange', context)
        .view('w', w, REAL)
        .that(Number.isInteger(groups), `${w.cols} columns are no multiple of the group size ${groupSize}`)
        .view('scales', asMatrix(scales), REAL, w.rows)
        .view('zeros', asMatrix(zeros), REAL, w.rows, asMatrix(scales).cols)
        .most('last group', firstGroup + groups, asMatrix(scales).cols);
      checkCosts(check, options.importance, w.cols).done();
      const fitted = rule === 'signed' || rule === 'min';
      // A search tries 80 grids, each with a power a weight; about half of them stop early.
      const cost = w.rows * w.cols * (range === 'minmax' ? 3 : fitted ? FIT_NS : 1500);
      context.record(() =>
        runRows(
          context,
          'group-range',
          {
            w: reals(w),
            bits,
            groupSize,
            rule,
            range,
            minZero,
            costs: costsOf(options.importance, w.cols),
            scales: matrixCols(reals(asMatrix(scales)), firstGroup, groups),
            zeros: matrixCols(reals(asMatrix(zeros)), firstGroup, groups),
          },
          cost,
        ),
      );
    },
  };
}

function superBlockOps(context: OpContext): Pick<QuantOps, 'superBlockRange'> {
  return {
    superBlockRange(options) {
      const { type, w, importance, scales, zeros, blocks, firstBlock } = options;
      const count = w.cols / SUPER_BLOCK;
      const subs = SUPER_BLOCK / K_QUANTS[type].subBlock;
      const check = new OpCheck('superBlockRange', context)
        .view('w', w, REAL)
        .that(Number.isInteger(count), `${w.cols} columns are no multiple of ${SUPER_BLOCK}`)
        .view('scales', asMatrix(scales), REAL, w.rows)
        .view('zeros', asMatrix(zeros), REAL, w.rows, asMatrix(scales).cols)
        .view('blocks', asMatrix(blocks), REAL, w.rows, (2 * asMatrix(scales).cols) / subs)
        .most('last super-block', firstBlock + count, asMatrix(blocks).cols / 2);
      checkCosts(check, importance, w.cols).done();
      context.record(() => {
        const part = (tensor: Tensor, each: number): RealMatrix =>
          matrixCols(reals(asMatrix(tensor)), firstBlock * each, count * each);
        return runRows(
          context,
          'super-block-range',
          {
            type,
            w: reals(w),
            costs: costsOf(importance, w.cols),
            scales: part(scales, subs),
            zeros: part(zeros, subs),
            blocks: part(blocks, 2),
          },
          w.rows * w.cols * FIT_NS,
        );
      });
    },
  };
}

function nearestOps(context: OpContext): Pick<QuantOps, 'quantizeNearest'> {
  return {
    quantizeNearest(options) {
      const { w, codes, error } = options;
      checkGrid(new OpCheck('quantizeNearest', context), w, options)
        .view('codes', codes, ['u8'], w.rows, w.cols)
        .view('error', error, REAL, w.rows, w.cols)
        .done();
      const cost = w.rows * w.cols * 3;
      context.record(() =>
        runRows(
          context,
          'quantize-nearest',
          { ...gridOf(options), w: reals(w), codes: bytes(codes), error: reals(error) },
          cost,
        ),
      );
    },
  };
}

function blockOps(context: OpContext): Pick<QuantOps, 'gptqBlock' | 'refineBlock'> {
  return {
    gptqBlock(options) {
      const { w, carried, l, error, codes, losses } = options;
      checkGrid(new OpCheck('gptqBlock', context), w, options)
        .most('block size', w.cols, MAX_BLOCK)
        .view('carried', carried, REAL, w.rows, w.cols)
        .view('l', l, REAL, w.cols, w.cols)
        .view('error', error, REAL, w.rows, w.cols)
        .view('codes', codes, ['u8'], w.rows, w.cols)
        .tensor('losses', losses, REAL, w.rows)
        .done();
      context.record(() =>
        gptqBlockTiled(context, {
          ...gridOf(options),
          w: reals(w),
          carried: reals(carried),
          l: reals(l),
          error: reals(error),
          codes: bytes(codes),
          losses: { ...realColumn(losses), rows: w.rows },
        }),
      );
    },
    refineBlock(options) {
      const { w, gradient, h, diagonal, error, codes } = options;
      checkGrid(new OpCheck('refineBlock', context), w, options)
        .most('block size', w.cols, MAX_BLOCK)
        .view('gradient', gradient, REAL, w.rows, w.cols)
        .view('h', h, REAL, w.cols, w.cols)
        .tensor('diagonal', diagonal, REAL, options.firstColumn + w.cols)
        .view('error', error, REAL, w.rows, w.cols)
        .view('codes', codes, ['u8'], w.rows, w.cols)
        .done();
      context.record(() =>
        runRows(
          context,
          'refine-block',
          {
            ...gridOf(options),
            w: reals(w),
            gradient: reals(gradient),
            h: reals(h),
            diagonal: realColumn(diagonal).data,
            error: reals(error),
            codes: bytes(codes),
          },
          (w.rows * w.cols * w.cols) / 8,
        ),
      );
    },
  };
}

/** The quantizer steps of the contract: checks at the call, work in call order. */
export function createQuantOps(context: OpContext): QuantOps {
  return {
    ...rangeOps(context),
    ...superBlockOps(context),
    ...nearestOps(context),
    ...blockOps(context),
    packCodes({ codes, positionOf, bits, packed }) {
      const view = asMatrix(codes);
      new OpCheck('packCodes', context)
        .view('codes', view, ['u8'])
        .tensor('positionOf', positionOf, ['u32'], view.cols)
        .that((view.cols * bits) % 32 === 0, `${view.cols} codes of ${bits} bits do not fill whole words`)
        .tensor('packed', packed, ['u32'], (view.rows * view.cols * bits) / 32)
        .done();
      context.record(() => packCodes(bytes(view), words(positionOf), bits, words(packed)));
    },
    dequantize({ weight, out }) {
      const check = new OpCheck('dequantize', context).view(
        'out',
        out,
        REAL,
        weight.outFeatures,
        weight.inFeatures,
      );
      checkAffine(check, weight);
      check.done();
      context.record(() =>
        dequantize({
          bits: weight.bits,
          scales: reals(asMatrix(weight.scales)),
          zeros: reals(asMatrix(weight.zeros)),
          codes: words(weight.codes),
          groupOf: words(weight.groupOf),
          firstRow: 0,
          out: reals(out),
        }),
      );
    },
  };
}
