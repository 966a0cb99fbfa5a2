// Plan: AWQ's two searches on each engine, judged in float64 with the exact Hessian: the factors found lower the output error of
// round-to-nearest where inputs differ in strength, and every clipped group is at least as good as the full range.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import {
  freeHessian,
  quantizeLinear,
  roundingLoss,
  searchClip,
  searchInputScales,
} from '../../src/quant/index.js';
import { readAffineLinear } from '../../src/quant/read-quantized-linear.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { describeEngines } from '../helpers/engines.js';
import { hessianOf } from './oracle.js';
import { DEFAULT_SPEC, makeProblem } from './problem.js';
import type { Problem } from './problem.js';
import { hessianOn, residual } from './run-quantizer.js';

const N = 32;
const K = 128;
const GROUP = 32;
const SPEC = {
  ...DEFAULT_SPEC,
  method: 'rtn',
  rule: 'asymmetric',
  groupSize: GROUP,
  bits: 3,
  minZero: 0,
} as const;

/** d·H_gg·dᵀ of each group of each row. */
function groupErrors(d: Float64Array, h: readonly Float64Array[]): number[] {
  return Array.from({ length: (N * K) / GROUP }, (_, index) => {
    const row = Math.floor((index * GROUP) / K);
    const first = (index * GROUP) % K;
    let sum = 0;
    for (let i = first; i < first + GROUP; i++)
      for (let j = first; j < first + GROUP; j++) sum += d[row * K + i] * h[i][j] * d[row * K + j];
    return sum;
  });
}

describeEngines('awq', (make) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await make();
  });
  afterAll(() => engine.dispose());
  const problem: Problem = makeProblem({ outFeatures: N, inFeatures: K, seed: 77 });
  const ones = new Float32Array(K).fill(1);

  it('finds factors that lower the output error', async () => {
    const hessian = await hessianOn(engine, problem);
    const tensor = engine.upload(problem.weight, [N, K], 'f32', 'w');
    const { alpha, factors } = await searchInputScales(engine, { weights: [tensor], hessian, spec: SPEC });
    const lossWith = (some: Float32Array) =>
      roundingLoss(engine, { w: asMatrix(tensor), factors: some, hessian, spec: SPEC });
    expect(alpha).toBeGreaterThan(0);
    expect(await lossWith(factors)).toBeLessThan(0.97 * (await lossWith(ones)));
    engine.free(tensor);
    freeHessian(engine, hessian);
  });

  it('clips no group to its loss', async () => {
    const hessian = await hessianOn(engine, problem);
    const tensor = engine.upload(problem.weight, [N, K], 'f32', 'w');
    const grid = await searchClip(engine, { weight: tensor, factors: ones, hessian, spec: SPEC });
    const round = async (some?: typeof grid) => {
      const { weight } = await quantizeLinear(engine, {
        ...{ name: 'w', outFeatures: N, inFeatures: K, spec: SPEC, compare: false },
        weight: { kind: 'dense', tensor },
        ...(some === undefined ? {} : { grid: some }),
      });
      const linear = await readAffineLinear(engine, weight, GROUP);
      engine.free(weight.codes, weight.scales, weight.zeros, weight.groupOf);
      return linear;
    };
    const clipped = await round(grid);
    expect(clipped.scales).toEqual(grid.scales);
    const h = hessianOf(problem);
    const before = groupErrors(residual(problem, await round()), h);
    const after = groupErrors(residual(problem, clipped), h);
    const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
    for (const [i, error] of after.entries()) expect(error).toBeLessThanOrEqual(before[i] * (1 + 1e-4));
    expect(sum(after)).toBeLessThan(0.97 * sum(before));
    engine.free(tensor);
    freeHessian(engine, hessian);
  });
});
