/**
 * Activation-aware weight scaling (AWQ, Lin et al., MLSys 2024, section 3.2): input columns that carry large activations
 * are multiplied by a factor before rounding, and the factor is taken out of the inputs, so that they are rounded finer.
 * Here the strength of a column is the root mean square of its inputs, read off the Hessian's diagonal, and candidates are
 * judged by tr(D H Dᵀ), which is what the paper's output error is in expectation; no extra pass over activations.
 */
import type { Engine } from '../engine/engine.js';
import { TensorScope } from '../engine/panels.js';
import { asMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import type { Hessian } from './hessian.js';
import { exactForm } from './quadratic-form.js';
import type { GridTensors } from './range-groups.js';
import { rangeGroups } from './range-groups.js';
import type { QuantSpec } from './records.js';
import { rtnRows } from './rtn.js';
import { resolveGroupSize } from './shape.js';

/** Exponents tried: 0, 1/20 … 19/20. */
const STEPS = 20;
/** Rows of a linear that judge a candidate: the error is a sum over rows that are much alike. */
const MAX_SEARCH_ROWS = 512;
/** Factors stay between these, so that float16 and bfloat16 norms can take their inverse. */
const MAX_FACTOR = 2 ** 10;

export interface InputScales {
  /** Exponent chosen; 0 where scaling does not help. */
  readonly alpha: number;
  /** [K]: factor of each input column. */
  readonly factors: Float32Array;
}

/** The factors of least output error, summed over linears [N, K] that share the inputs behind `hessian`. */
export async function searchInputScales(
  engine: Engine,
  options: {
    /** Dense [N, K] each. */
    readonly weights: readonly Tensor[];
    readonly hessian: Hessian;
    readonly spec: QuantSpec;
  },
): Promise<InputScales> {
  const { weights, hessian, spec } = options;
  let best: (InputScales & { readonly loss: number }) | undefined;
  for (let step = 0; step < STEPS; step++) {
    const alpha = step / STEPS;
    const factors = columnFactors(hessian, alpha);
    let loss = 0;
    for (const weight of weights)
      loss += await roundingLoss(engine, { w: searchRows(weight), factors, hessian, spec });
    if (best === undefined || loss < best.loss) best = { alpha, factors, loss };
  }
  return best ?? { alpha: 0, factors: columnFactors(hessian, 0) };
}

/** At most MAX_SEARCH_ROWS rows of a weight, evenly spread. */
function searchRows(weight: Tensor): MatrixView {
  const whole = asMatrix(weight);
  const step = Math.max(1, Math.floor(whole.rows / MAX_SEARCH_ROWS));
  return { ...whole, rows: Math.floor(whole.rows / step), stride: whole.stride * step };
}

/** Root mean square of each input to the power alpha, centred on 1 between smallest and largest. */
function columnFactors({ diagonal }: Hessian, alpha: number): Float32Array {
  const raw = Float64Array.from(diagonal, (value) => (value > 0 ? Math.sqrt(value / 2) ** alpha : 1));
  const centre = Math.sqrt(Math.max(...raw) * Math.min(...raw));
  return Float32Array.from(raw, (value) => Math.min(Math.max(value / centre, 1 / MAX_FACTOR), MAX_FACTOR));
}

/** tr(D H Dᵀ) of rows w [rows, K] rounded after their columns were multiplied by `factors`. */
export async function roundingLoss(
  engine: Engine,
  options: {
    readonly w: MatrixView;
    readonly factors: Float32Array;
    readonly hessian: Hessian;
    readonly spec: QuantSpec;
  },
): Promise<number> {
  const { w, factors, hessian, spec } = options;
  const { rows, cols } = w;
  const groupSize = resolveGroupSize(spec, cols);
  const scope = new TensorScope(engine);
  try {
    const vector = (values: Float32Array): Tensor =>
      scope.own(engine.upload(values, [cols], 'f32', 'column factors'));
    const scaled = asMatrix(scope.create([rows, cols], 'scaled weights'));
    engine.copy({ from: w, to: scaled });
    engine.scaleLines({ x: scaled, factors: vector(factors), axis: 'columns' });
    const grid: GridTensors = {
      bits: spec.bits,
      scales: scope.create([rows, cols / groupSize], 'awq scales'),
      zeros: scope.create([rows, cols / groupSize], 'awq zeros'),
      blocks: undefined,
    };
    rangeGroups(engine, { spec, w: scaled, groupSize, grid, firstGroup: 0, importance: undefined });
    const error = asMatrix(scope.create([rows, cols], 'awq error'));
    const groupOf = Uint32Array.from({ length: cols }, (_, k) => Math.floor(k / groupSize));
    rtnRows(engine, {
      w: scaled,
      error,
      codes: asMatrix(scope.own(engine.create([rows, cols], 'u8', 'awq codes'))),
      grid,
      groupOf: scope.own(engine.upload(groupOf, [cols], 'u32', 'groups')),
    });
    const inverse = factors.map((factor) => 1 / factor);
    engine.scaleLines({ x: error, factors: vector(inverse), axis: 'columns' });
    return await exactForm(engine, hessian, error);
  } finally {
    scope.dispose();
  }
}
