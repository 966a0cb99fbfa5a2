/** The toy layer again in plain float64, quantized in true-sequential order with the un-batched oracle. */
import { oracle } from '../quant/oracle.js';
import type { OracleResult } from '../quant/oracle.js';
import type { QuantSpec } from '../../src/quant/records.js';
import { HIDDEN, INNER } from './toy-layer.js';
import type { ToyWeights } from './toy-layer.js';

/** y [n, N] = x [n, K]·Wᵀ. */
function project(x: Float64Array, weight: ArrayLike<number>, outFeatures: number): Float64Array {
  const inFeatures = weight.length / outFeatures;
  const rows = x.length / inFeatures;
  return Float64Array.from({ length: rows * outFeatures }, (_, at) => {
    const [row, out] = [Math.floor(at / outFeatures), at % outFeatures];
    let sum = 0;
    for (let k = 0; k < inFeatures; k++) sum += x[row * inFeatures + k] * weight[out * inFeatures + k];
    return sum;
  });
}

function dequantize({ codes, scales, zeros, groupOf }: OracleResult, outFeatures: number): Float64Array {
  const inFeatures = codes.length / outFeatures;
  const groups = scales.length / outFeatures;
  return Float64Array.from(codes, (code, index) => {
    const at = Math.floor(index / inFeatures) * groups + groupOf[index % inFeatures];
    return scales[at] * (code - zeros[at]);
  });
}

export interface HostLinear {
  readonly name: string;
  readonly result: OracleResult;
  readonly rtnLoss: number;
}

export interface HostLayerResult {
  readonly linears: readonly HostLinear[];
  /** Hidden states after the quantized layer. */
  readonly hidden: Float64Array;
}

export function hostLayer(
  weights: readonly ToyWeights[],
  inputs: Float64Array,
  select: (name: string) => QuantSpec | undefined,
): HostLayerResult {
  const linears: HostLinear[] = [];
  let hidden = inputs;
  const settle = (
    name: string,
    weight: Float32Array,
    x: Float64Array,
    outFeatures: number,
  ): ArrayLike<number> => {
    const spec = select(name);
    if (spec === undefined) return weight;
    const inFeatures = weight.length / outFeatures;
    const problem = {
      outFeatures,
      inFeatures,
      tokens: x.length / inFeatures,
      weight,
      weightBits: new Uint16Array(0),
      inputs: x,
    };
    const result = oracle(problem, spec);
    linears.push({ name, result, rtnLoss: oracle(problem, { ...spec, method: 'rtn' }).loss });
    return dequantize(result, outFeatures);
  };
  weights.forEach((part, index) => {
    const gate = project(hidden, settle(`toy.${index}.gate`, part.gate, hidden, INNER), INNER);
    const up = project(hidden, settle(`toy.${index}.up`, part.up, hidden, INNER), INNER);
    const inner = gate.map((g, at) => (g / (1 + Math.exp(-g))) * up[at]);
    const out = project(inner, settle(`toy.${index}.down`, part.down, inner, HIDDEN), HIDDEN);
    hidden = hidden.map((value, at) => value + out[at]);
  });
  return { linears, hidden };
}
