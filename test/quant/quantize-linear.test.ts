// Plan: what quantizeLinear promises besides GPTQ's codes, on each engine: refinement lowers the loss, chunking and
// sharing of a Hessian change nothing, runs repeat bit by bit, round-to-nearest with and without a Hessian, memory.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { freeHessian, quantizeLinear } from '../../src/quant/index.js';
import type { QuantSpec } from '../../src/quant/index.js';
import { describeEngines } from '../helpers/engines.js';
import { compareCodes } from './compare-codes.js';
import { hessianOf, oracle, quadraticLoss } from './oracle.js';
import { DEFAULT_SPEC, makeProblem } from './problem.js';
import type { ProblemOptions } from './problem.js';
import { hessianOn, residual, runQuantizer } from './run-quantizer.js';
import { strictEngine } from './strict-engine.js';

const REFINED: readonly { title: string; problem: Partial<ProblemOptions>; spec: Partial<QuantSpec> }[] = [
  { title: 'per channel', problem: { seed: 31 }, spec: { groupSize: -1 } },
  { title: 'groups of 64, act-order', problem: { seed: 32 }, spec: { groupSize: 64, order: 'act' } },
  {
    title: 'groups of 32, 2 bits',
    problem: { seed: 33 },
    spec: { groupSize: 32, bits: 2, rule: 'asymmetric' },
  },
  { title: 'dead columns', problem: { seed: 34, dead: [3, 140] }, spec: { groupSize: 32 } },
  { title: 'ill-conditioned', problem: { seed: 35, decay: 0.7, noise: 1e-4 }, spec: { groupSize: 32 } },
];

const problemOf = (options: Partial<ProblemOptions>): ReturnType<typeof makeProblem> =>
  makeProblem({ outFeatures: 32, inFeatures: 192, seed: 30, ...options });

describeEngines('quantizeLinear', (make, { name }) => {
  let raw: Engine;
  let engine: Engine;
  beforeAll(async () => {
    raw = await make();
    engine = strictEngine(raw);
  });
  afterAll(() => raw.dispose());

  it.each(REFINED)('refinement lowers the loss: $title', async ({ problem: options, spec: changes }) => {
    const problem = problemOf(options);
    const spec = { ...DEFAULT_SPEC, ...changes };
    const plain = await runQuantizer(engine, problem, spec);
    const refined = await runQuantizer(engine, problem, { ...spec, refine: 2 });
    expect(refined.stats.refined).toBe(2);
    expect(refined.stats.loss ?? NaN).toBeLessThan(plain.stats.loss ?? NaN);
    const truth = hessianOf(problem);
    const loss = quadraticLoss(truth, residual(problem, refined.linear, options.dead));
    expect(loss).toBeLessThan(quadraticLoss(truth, residual(problem, plain.linear, options.dead)));
    expect(Math.abs((refined.stats.loss ?? NaN) / loss - 1)).toBeLessThan(1e-3);
  });

  it('gives the same bits again, and with rows taken in chunks', async () => {
    const problem = problemOf({ outFeatures: 96, dead: [9] });
    for (const order of ['natural', 'act'] as const) {
      const spec = { ...DEFAULT_SPEC, groupSize: 64, order, refine: 1 };
      const first = await runQuantizer(engine, problem, spec);
      const again = await runQuantizer(engine, problem, spec);
      expect(again).toEqual(first);
      const chunked = await runQuantizer(engine, problem, spec, { workBytes: 1 });
      expect(chunked.linear).toEqual(first.linear);
      expect((chunked.stats.loss ?? NaN) / (first.stats.loss ?? NaN)).toBeCloseTo(1, 6);
    }
  });

  it('shares a Hessian between linears and reuses it for other orders and dampings', async () => {
    const problem = problemOf({ dead: [70] });
    const before = raw.memory().tensors;
    const hessian = await hessianOn(engine, problem);
    const specs: readonly Partial<QuantSpec>[] = [
      {},
      { order: 'act', groupSize: 64 },
      { order: 'act', groupSize: 64, damp: 0.05 },
      { order: 'group-aware', groupSize: 32 },
      {},
    ];
    for (const changes of specs) {
      const spec = { ...DEFAULT_SPEC, groupSize: 64, ...changes };
      const shared = await runQuantizer(engine, problem, spec, { hessian });
      const kept = hessian.factor;
      expect(await runQuantizer(engine, problem, spec, { hessian })).toEqual(shared);
      expect(hessian.factor).toBe(kept);
      expect(await runQuantizer(engine, problem, spec)).toEqual(shared);
    }
    freeHessian(engine, hessian);
    expect(raw.memory().tensors).toBe(before);
  });

  it('rounds to nearest, data-free or with figures', async () => {
    const problem = problemOf({});
    const spec: QuantSpec = { ...DEFAULT_SPEC, method: 'rtn', groupSize: 32, rule: 'asymmetric' };
    const expected = oracle(problem, spec);
    const free = await runQuantizer(engine, problem, spec);
    expect(free.method).toBe('rtn');
    expect(free.stats).toEqual({ refined: 0, groups: 6 });
    expect(compareCodes(free.linear, expected, 1e-4)).toMatchObject({ faults: [] });
    const hessian = await hessianOn(engine, problem);
    const figured = await runQuantizer(engine, problem, spec, { hessian });
    freeHessian(engine, hessian);
    expect(figured.linear).toEqual(free.linear);
    expect(figured.stats.rtnLoss).toBe(figured.stats.loss);
    expect(Math.abs((figured.stats.loss ?? NaN) / expected.loss - 1)).toBeLessThan(2e-3);
  });

  it('gives the same bits twice', async () => {
    const spec = { ...DEFAULT_SPEC, groupSize: 64, order: 'act', refine: 1 } as const;
    const first = await runQuantizer(engine, problemOf({}), spec);
    const second = await runQuantizer(engine, problemOf({}), spec);
    expect(second).toEqual(first);
  });

  for (const rule of ['symmetric', 'asymmetric'] as const)
    it(`gives the whole matrix one ${rule} scale and zero when asked`, async () => {
      const problem = problemOf({});
      const spec = { ...DEFAULT_SPEC, groupSize: -1, rule, method: 'rtn', perTensor: true } as const;
      const { linear } = await runQuantizer(engine, problem, spec);
      const perRow = await runQuantizer(engine, problem, { ...spec, perTensor: false });
      expect(new Set(linear.scales).size).toBe(1);
      expect(new Set(linear.zeros).size).toBe(1);
      // The widest row decides; with symmetric grids its own scale is the matrix's.
      const widest = Math.max(...perRow.linear.scales);
      if (rule === 'symmetric') expect(linear.scales[0]).toBe(widest);
      else expect(linear.scales[0]).toBeGreaterThanOrEqual(widest);
      const bound = linear.scales[0] * 0.5001;
      for (const error of residual(problem, linear)) expect(Math.abs(error)).toBeLessThanOrEqual(bound);
    });

  it('leaves the comparison out when asked', async () => {
    const spec = { ...DEFAULT_SPEC, groupSize: 64 };
    const full = await runQuantizer(engine, problemOf({}), spec);
    const brief = await runQuantizer(engine, problemOf({}), spec, { compare: false });
    expect(brief.linear).toEqual(full.linear);
    expect(brief.stats.loss).toBe(full.stats.loss);
    expect(brief.stats.rtnLoss).toBeUndefined();
    expect(brief.stats.relativeOutputError).toBeUndefined();
  });

  // Plain loops only: pools and packing buffers of the other engines are theirs, not the quantizer's.
  it.runIf(name === 'cpu f32')('keeps its working memory near what it was given', async () => {
    const problem = problemOf({ outFeatures: 512, inFeatures: 256 });
    const { outFeatures, inFeatures, weightBits } = problem;
    const hessian = await hessianOn(raw, problem);
    const tensor = raw.upload(weightBits, [outFeatures, inFeatures], 'bf16', 'weight');
    const peakWith = async (workBytes: number): Promise<number> => {
      raw.resetPeak();
      const before = raw.memory().allocatedBytes;
      const { weight } = await quantizeLinear(raw, {
        name: 'test',
        weight: { kind: 'dense', tensor },
        outFeatures,
        inFeatures,
        hessian,
        spec: { ...DEFAULT_SPEC, groupSize: 64 },
        workBytes,
      });
      const peak = raw.memory().peakBytes - before;
      raw.free(weight.codes, weight.scales, weight.zeros, weight.groupOf);
      await raw.sync();
      return peak;
    };
    await peakWith(1e9);
    const whole = await peakWith(1e9);
    const small = await peakWith(200_000);
    const result = (outFeatures * inFeatures) / 2 + outFeatures * 4 * 8 + inFeatures * 4;
    expect(small - result).toBeLessThan(300_000);
    expect(whole).toBeGreaterThan(2 * small);
    freeHessian(raw, hessian);
    raw.free(tensor);
  });
});
