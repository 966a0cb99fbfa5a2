// Plan: what goes wrong is named: singular and indefinite Hessians climb the damping ladder rung by rung, non-finite
// inputs and weights, no tokens, unfit shapes; nothing leaks on the way out.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NumericError, UserError } from '../../src/core/errors.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { dampingRungs } from '../../src/quant/damping-ladder.js';
import { accumulateHessian, createHessian, finishHessian, freeHessian } from '../../src/quant/index.js';
import type { Hessian, QuantSpec } from '../../src/quant/index.js';
import { describeEngines } from '../helpers/engines.js';
import { DEFAULT_SPEC, makeProblem } from './problem.js';
import { hessianOn, runQuantizer } from './run-quantizer.js';
import { strictEngine } from './strict-engine.js';

const SPEC: QuantSpec = { ...DEFAULT_SPEC, groupSize: 32 };
const PROBLEM = makeProblem({ outFeatures: 32, inFeatures: 64, seed: 51 });

/** A Hessian with these elements (i ≤ j), ones on the rest of the diagonal. */
async function hessianWith(
  engine: Engine,
  size: number,
  elements: readonly (readonly [number, number, number])[],
): Promise<Hessian> {
  const x = engine.upload(new Float32Array(size * size), [size, size], 'f32', 'nothing');
  const sum = createHessian(engine, size, 'made up');
  accumulateHessian(engine, sum, asMatrix(x));
  engine.free(x);
  const h = new Float32Array(size * size);
  for (let i = 0; i < size; i++) h[i * size + i] = size / 2;
  for (const [i, j, value] of elements) h[i * size + j] = (value * size) / 2;
  engine.write(sum.square.panels[0].tensor, h);
  return finishHessian(engine, sum, 'made up');
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('dampingRungs', () => {
  it('climbs by hundredths to 1, then floors the diagonal', () => {
    const rungs = dampingRungs(0.01);
    expect(rungs.slice(0, 3)).toEqual([{ damp: 0.01 }, { damp: 0.02 }, { damp: 0.03 }]);
    expect(rungs.filter((rung) => rung.floorShare === undefined)).toHaveLength(100);
    expect(rungs[99]).toEqual({ damp: 1 });
    expect(rungs[100]).toEqual({ damp: 1, floorShare: 1e-6 });
    expect(rungs[rungs.length - 1]).toEqual({ damp: 1, floorShare: 1 });
  });
});

describeEngines('numeric trouble', (make) => {
  let raw: Engine;
  let engine: Engine;
  beforeAll(async () => {
    raw = await make();
    engine = strictEngine(raw);
  });
  afterAll(() => raw.dispose());

  it('damps a singular Hessian only as far as it must', async () => {
    const hessian = await hessianWith(engine, 64, [[0, 1, 1]]);
    const { stats } = await runQuantizer(engine, PROBLEM, { ...SPEC, damp: 0 }, { hessian });
    expect(stats.dampTried).toEqual([0, 0.01]);
    expect(stats.damp).toBe(0.01);
    freeHessian(engine, hessian);
  });

  it('climbs to the damping an indefinite Hessian needs', async () => {
    const hessian = await hessianWith(engine, 64, [[3, 40, 1.035]]);
    const { stats } = await runQuantizer(engine, PROBLEM, SPEC, { hessian });
    expect(stats.dampTried).toEqual([0.01, 0.02, 0.03, 0.04]);
    expect(stats.diagonalFloor).toBeUndefined();
    freeHessian(engine, hessian);
  });

  it('floors the diagonal where damping 1 is too little, and still knows the loss', async () => {
    const hessian = await hessianWith(engine, 64, [
      [0, 0, 100],
      [10, 11, 9.5],
    ]);
    const { stats } = await runQuantizer(engine, PROBLEM, { ...SPEC, damp: 0.97 }, { hessian });
    expect(stats.dampTried).toEqual([0.97, 0.98, 0.99, 1]);
    expect(stats.diagonalFloor ?? NaN).toBeCloseTo(10, 4);
    expect(stats.loss ?? NaN).toBeGreaterThanOrEqual(0);
    expect(stats.rtnLoss ?? NaN).toBeGreaterThan(0);
    freeHessian(engine, hessian);
  });

  it('gives up by name, or rounds to nearest where allowed and says so', async () => {
    const hessian = await hessianWith(engine, 64, [[3, 40, 50]]);
    const spec = { ...SPEC, damp: 0.98 };
    const error = await failure(runQuantizer(engine, PROBLEM, spec, { hessian }));
    expect(error).toBeInstanceOf(NumericError);
    expect(error).toMatchObject({ layer: 'test.linear', step: 'cholesky' });
    const allowed = await runQuantizer(engine, PROBLEM, spec, { hessian, allowRtnFallback: true });
    expect(allowed.method).toBe('rtn');
    expect(allowed.stats).toEqual({ refined: 0, groups: 2, dampTried: [0.98, 0.99, 1] });
    const rtn = await runQuantizer(engine, PROBLEM, { ...SPEC, method: 'rtn' });
    expect(allowed.linear).toEqual(rtn.linear);
    freeHessian(engine, hessian);
  });

  it('counts input rows that are not finite', async () => {
    const before = raw.memory().tensors;
    const inputs = PROBLEM.inputs.slice();
    inputs[5] = NaN;
    inputs[64 * 7] = Infinity;
    inputs[64 * 7 + 1] = -Infinity;
    const error = await failure(hessianOn(engine, { ...PROBLEM, inputs }));
    expect(error).toBeInstanceOf(NumericError);
    expect(error).toMatchObject({ layer: 'test', step: 'hessian' });
    expect(String(error)).toContain(`2 of ${PROBLEM.tokens} calibration rows`);
    expect(raw.memory().tensors).toBe(before);
  });

  it('refuses inputs whose squares overflow, and an empty calibration', async () => {
    const before = raw.memory().tensors;
    const inputs = PROBLEM.inputs.slice();
    inputs[64 * 2 + 9] = 3e19;
    const error = await failure(hessianOn(engine, { ...PROBLEM, inputs }));
    expect(error).toMatchObject({ step: 'hessian', index: 9 });
    const empty = await failure(finishHessian(engine, createHessian(engine, 64, 'empty'), 'empty'));
    expect(empty).toBeInstanceOf(NumericError);
    expect(raw.memory().tensors).toBe(before);
  });

  it('names the weight that is not finite', async () => {
    const before = raw.memory().tensors;
    const weightBits = PROBLEM.weightBits.slice();
    weightBits[64 * 20 + 3] = 0x7fc0;
    for (const method of ['gptq', 'rtn'] as const) {
      const error = await failure(runQuantizer(engine, { ...PROBLEM, weightBits }, { ...SPEC, method }));
      expect(error).toBeInstanceOf(NumericError);
      expect(error).toMatchObject({ layer: 'test.linear', step: 'weights', index: 64 * 20 + 3 });
    }
    expect(raw.memory().tensors).toBe(before);
  });

  it('lists everything that is wrong with a shape', async () => {
    const odd = makeProblem({ outFeatures: 30, inFeatures: 72, seed: 52 });
    const error = await failure(runQuantizer(engine, odd, { ...SPEC, method: 'rtn' }));
    expect(error).toBeInstanceOf(UserError);
    for (const part of ['test.linear [30, 72]', 'group size 32', 'in_features 72'])
      expect(String(error)).toContain(part);
  });
});
