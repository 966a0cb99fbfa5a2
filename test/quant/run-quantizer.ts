import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import {
  accumulateHessian,
  createHessian,
  finishHessian,
  freeHessian,
  quantizeLinear,
} from '../../src/quant/index.js';
import type { Hessian, QuantizeLinearOptions, QuantSpec, QuantStats } from '../../src/quant/index.js';
import type { AffineLinear, AffineMinLinear, KQuantLinear } from '../../src/core/quantized-linear.js';
import { readQuantizedLinear } from '../../src/quant/read-quantized-linear.js';
import type { Problem } from './problem.js';

export interface RecordOutcome {
  readonly record: AffineLinear | AffineMinLinear | KQuantLinear;
  readonly stats: QuantStats;
  readonly method: 'gptq' | 'rtn';
}

/** The problem's Hessian, its inputs given in two unequal batches. */
export async function hessianOn(engine: Engine, problem: Problem): Promise<Hessian> {
  const { inputs, tokens, inFeatures } = problem;
  const sum = createHessian(engine, inFeatures, 'test');
  const first = Math.ceil(tokens / 3);
  for (const [start, end] of [
    [0, first],
    [first, tokens],
  ]) {
    const part = inputs.slice(start * inFeatures, end * inFeatures);
    const x = engine.upload(part, [end - start, inFeatures], 'f32', 'inputs');
    accumulateHessian(engine, sum, asMatrix(x));
    engine.free(x);
  }
  return finishHessian(engine, sum, 'test');
}

export interface Outcome extends Omit<RecordOutcome, 'record'> {
  readonly linear: AffineLinear;
}

/** runRecord for grids with integer zeros. */
export async function runQuantizer(...args: Parameters<typeof runRecord>): Promise<Outcome> {
  const { record, ...rest } = await runRecord(...args);
  if (record.kind !== 'affine') throw new Error(`a record of kind ${record.kind}`);
  return { linear: record, ...rest };
}

/** quantizeLinear on the problem's bf16 weight; everything it made is freed. */
export async function runRecord(
  engine: Engine,
  problem: Problem,
  spec: QuantSpec,
  more: Partial<QuantizeLinearOptions> = {},
): Promise<RecordOutcome> {
  const { outFeatures, inFeatures } = problem;
  const own = more.hessian === undefined && spec.method === 'gptq';
  const hessian = own ? await hessianOn(engine, problem) : more.hessian;
  const tensor = engine.upload(problem.weightBits, [outFeatures, inFeatures], 'bf16', 'weight');
  try {
    const result = await quantizeLinear(engine, {
      name: 'test.linear',
      weight: { kind: 'dense', tensor },
      outFeatures,
      inFeatures,
      spec,
      ...(hessian === undefined ? {} : { hessian }),
      ...more,
    });
    const record = await readQuantizedLinear(engine, result.weight, spec);
    const { codes, scales, zeros, groupOf } = result.weight;
    engine.free(codes, scales, zeros, groupOf);
    return { record, stats: result.stats, method: result.method };
  } finally {
    engine.free(tensor);
    if (own && hessian !== undefined) freeHessian(engine, hessian);
  }
}

/** Codes [N, K] out of the packed bit streams. */
export function unpackCodes(linear: AffineLinear): Uint8Array {
  const { outFeatures, inFeatures, bits, codes } = linear;
  const words = (inFeatures * bits) / 32;
  return Uint8Array.from({ length: outFeatures * inFeatures }, (_, index) => {
    const row = Math.floor(index / inFeatures);
    let code = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = (index % inFeatures) * bits + bit;
      code |= ((codes[row * words + (at >>> 5)] >>> (at & 31)) & 1) << bit;
    }
    return code;
  });
}

/** W − Q with dead columns of W taken as zero, [N, K] in float64. */
export function residual(problem: Problem, linear: AffineLinear, dead: readonly number[] = []): Float64Array {
  const codes = unpackCodes(linear);
  const { inFeatures, scales, zeros, groupOf } = linear;
  const groups = scales.length / linear.outFeatures;
  return Float64Array.from(codes, (code, index) => {
    const column = index % inFeatures;
    const at = Math.floor(index / inFeatures) * groups + groupOf[column];
    const w = dead.includes(column) ? 0 : problem.weight[index];
    return w - scales[at] * (code - zeros[at]);
  });
}
