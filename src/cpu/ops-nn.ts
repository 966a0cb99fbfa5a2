import type { LinearWeight, NnOps } from '../engine/nn.js';
import type { AffineWeight } from '../engine/quant.js';
import { asMatrix } from '../engine/tensor.js';
import type { Tensor } from '../engine/tensor.js';
import { wholeMatrix } from './matrix.js';
import type { Matrix, Reals } from './matrix.js';
import { addTo } from './nn/add-to.js';
import { attend } from './nn/attend.js';
import { embed } from './nn/embed.js';
import { linear } from './nn/linear.js';
import { rmsNorm } from './nn/rms-norm.js';
import { rope } from './nn/rope.js';
import { OpCheck } from './op-check.js';
import { checkCodebook, hostCodebook } from './ops-codebook.js';
import { dense, realColumn, reals, runRows, words } from './op-context.js';
import type { OpContext } from './op-context.js';
import { copyMatrix } from './tensor/copy.js';

const REAL = ['f32'] as const;
const DENSE = ['f32', 'f16', 'bf16'] as const;
/** Nanoseconds of one exponential and what surrounds it, for the decision whether to use threads. */
const EXP_NS = 12;

/** Checks the parts of a weight on a grid. */
export function checkAffine(check: OpCheck, weight: AffineWeight): void {
  const { outFeatures, inFeatures, bits } = weight;
  const groups = asMatrix(weight.scales).cols;
  check
    .that((inFeatures * bits) % 32 === 0, `inFeatures·bits = ${inFeatures * bits} is no multiple of 32`)
    .view('scales', asMatrix(weight.scales), REAL, outFeatures)
    .view('zeros', asMatrix(weight.zeros), REAL, outFeatures, groups)
    .tensor('groupOf', weight.groupOf, ['u32'], inFeatures)
    .tensor('codes', weight.codes, ['u32'], (outFeatures * inFeatures * bits) / 32);
}

function linearOps(context: OpContext): Pick<NnOps, 'embed' | 'linear'> {
  return {
    embed({ tokens, panels, out }) {
      const check = new OpCheck('embed', context)
        .tensor('tokens', tokens, ['u32'])
        .view('out', asMatrix(out), REAL)
        .tensor('tokens', tokens, ['u32'], asMatrix(out).rows);
      for (const panel of panels) check.view('panel', asMatrix(panel), DENSE, undefined, asMatrix(out).cols);
      check.done();
      context.record(() =>
        embed(
          words(tokens),
          panels.map((panel) => dense(asMatrix(panel))),
          reals(asMatrix(out)),
        ),
      );
    },
    linear({ x, weight, bias, out }) {
      const [rows, cols] = weightShape(weight);
      const check = new OpCheck('linear', context)
        .view('x', x, REAL, undefined, cols)
        .view('out', out, REAL, x.rows, rows);
      if (weight.kind === 'affine') checkAffine(check, weight);
      else if (weight.kind === 'codebook') checkCodebook(check, weight);
      else check.tensor('weight', weight.tensor, DENSE);
      if (bias !== undefined) check.tensor('bias', bias, DENSE, rows);
      check.done();
      context.record(() =>
        linear(context, {
          x: reals(x),
          weight: hostWeight(weight),
          bias: bias === undefined ? undefined : vector(context, bias),
          out: reals(out),
        }),
      );
    },
  };
}

function weightShape(weight: LinearWeight): readonly [number, number] {
  if (weight.kind !== 'dense') return [weight.outFeatures, weight.inFeatures];
  const matrix = asMatrix(weight.tensor);
  return [matrix.rows, matrix.cols];
}

function hostWeight(weight: LinearWeight): Parameters<typeof linear>[1]['weight'] {
  if (weight.kind === 'dense') return dense(asMatrix(weight.tensor));
  if (weight.kind === 'codebook') return hostCodebook(weight);
  return {
    bits: weight.bits,
    scales: reals(asMatrix(weight.scales)),
    zeros: reals(asMatrix(weight.zeros)),
    codes: words(weight.codes),
    groupOf: words(weight.groupOf),
  };
}

/** A small dense vector in the working precision. */
function vector(context: OpContext, tensor: Tensor): Reals {
  const { rows, cols } = asMatrix(tensor);
  const source = dense({ tensor, rows: 1, cols: rows * cols, offset: 0, stride: rows * cols });
  if (!('half' in source)) return source.data;
  const target = context.precision === 'f64' ? new Float64Array(source.cols) : new Float32Array(source.cols);
  copyMatrix(source, wholeMatrix(target, source.cols));
  return target;
}

function rowOps(context: OpContext): Pick<NnOps, 'rmsNorm' | 'rope' | 'siluMul' | 'addTo'> {
  return {
    rmsNorm({ x, weight, eps, out }) {
      new OpCheck('rmsNorm', context)
        .view('x', x, REAL)
        .view('out', out, REAL, x.rows, x.cols)
        .tensor('weight', weight, DENSE, x.cols)
        .done();
      context.record(() => rmsNorm(reals(x), vector(context, weight), eps, reals(out)));
    },
    rope({ x, cos, sin, seqLen, heads, headDim, rotaryDims }) {
      const angles = Math.min(seqLen, x.rows) * (rotaryDims / 2);
      new OpCheck('rope', context)
        .view('x', x, REAL, undefined, heads * headDim)
        .tensor('cos', cos, REAL, angles)
        .tensor('sin', sin, REAL, angles)
        .most('rotaryDims', rotaryDims, headDim)
        .that(rotaryDims % 2 === 0, `rotaryDims ${rotaryDims} is odd`)
        .done();
      context.record(() =>
        rope({
          x: reals(x),
          cos: realColumn(cos).data,
          sin: realColumn(sin).data,
          seqLen,
          heads,
          headDim,
          rotaryDims,
        }),
      );
    },
    siluMul({ gate, up, out }) {
      new OpCheck('siluMul', context)
        .view('gate', gate, REAL)
        .view('up', up, REAL, gate.rows, gate.cols)
        .view('out', out, REAL, gate.rows, gate.cols)
        .done();
      const cost = gate.rows * gate.cols * EXP_NS;
      context.record(() =>
        runRows(context, 'silu-mul', { gate: reals(gate), up: reals(up), out: reals(out) }, cost),
      );
    },
    addTo({ x, y }) {
      new OpCheck('addTo', context).view('x', x, REAL).view('y', y, REAL, x.rows, x.cols).done();
      context.record(() => addTo(reals(x), reals(y)));
    },
  };
}

function attentionOps(context: OpContext): Pick<NnOps, 'attention'> {
  return {
    attention({ q, k, v, out, slidingWindow = Infinity, ...sizes }) {
      const { heads, kvHeads, headDim, seqLen } = sizes;
      new OpCheck('attention', context)
        .view('q', q, REAL, undefined, heads * headDim)
        .view('k', k, REAL, q.rows, kvHeads * headDim)
        .view('v', v, REAL, q.rows, kvHeads * headDim)
        .view('out', out, REAL, q.rows, heads * headDim)
        .that(heads % kvHeads === 0, `${heads} heads are no multiple of ${kvHeads} key/value heads`)
        .that(q.rows % seqLen === 0, `${q.rows} rows are no whole windows of ${seqLen}`)
        .done();
      context.record(() =>
        attend(context, {
          q: reals(q),
          k: reals(k),
          v: reals(v),
          out: reals(out),
          slidingWindow,
          ...sizes,
        }),
      );
    },
  };
}

/** The first `rows` elements of a whole tensor as a column. */
function column(tensor: Tensor, rows: number): Matrix<Uint32Array> {
  return { data: words(tensor), rows, cols: 1, offset: 0, stride: 1 };
}

function lossOps(context: OpContext): Pick<NnOps, 'tokenLoss' | 'tokenDivergence'> {
  return {
    tokenLoss({ logits, targets, losses }) {
      const { rows, cols } = logits;
      new OpCheck('tokenLoss', context)
        .view('logits', logits, REAL)
        .tensor('targets', targets, ['u32'], rows)
        .tensor('losses', losses, REAL, rows)
        .done();
      context.record(() =>
        runRows(
          context,
          'token-loss',
          {
            logits: reals(logits),
            targets: column(targets, rows),
            losses: reals({ tensor: losses, rows, cols: 1, offset: 0, stride: 1 }),
          },
          rows * cols * EXP_NS,
        ),
      );
    },
    tokenDivergence({ reference, logits, targets, stats }) {
      const { rows, cols } = logits;
      new OpCheck('tokenDivergence', context)
        .view('logits', logits, REAL)
        .view('reference', reference, REAL, rows, cols)
        .tensor('targets', targets, ['u32'], rows)
        .tensor('stats', stats, REAL, rows * 4)
        .done();
      context.record(() =>
        runRows(
          context,
          'token-divergence',
          {
            reference: reals(reference),
            logits: reals(logits),
            targets: column(targets, rows),
            stats: reals({ tensor: stats, rows, cols: 4, offset: 0, stride: 4 }),
          },
          rows * cols * 3 * EXP_NS,
        ),
      );
    },
  };
}

/** The forward operations of the contract: checks at the call, work in call order. */
export function createNnOps(context: OpContext): NnOps {
  return {
    ...linearOps(context),
    ...rowOps(context),
    ...attentionOps(context),
    ...lossOps(context),
  };
}
