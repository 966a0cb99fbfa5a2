// Plan: GPTQ on each engine against the un-batched float64 oracle, for every case of the table: groups, codes and
// scales equal but for rows that part at a rounding boundary; loss within 1 %; better than round-to-nearest; no leaks.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { describeEngines, openOracle } from '../helpers/engines.js';
import { compareCodes } from './compare-codes.js';
import { GPTQ_CASES } from './gptq-cases.js';
import type { GptqCase } from './gptq-cases.js';
import { hessianOf, oracle, quadraticLoss } from './oracle.js';
import type { OracleResult } from './oracle.js';
import { makeProblem } from './problem.js';
import { residual, runQuantizer } from './run-quantizer.js';
import { strictEngine } from './strict-engine.js';

/**
 * Distance to a rounding boundary, in codes, below which engines may round apart. Measured over the table in float32
 * (cpu, and webgpu on lavapipe): every parting lies within 5e-4.
 */
const DISTANCE = { f64: 1e-9, f32: 1e-3 };
/** Share of rows that may part from the oracle at a boundary. Measured: at most 2 of 32. */
const BOUNDARY_ROWS = { f64: 0, f32: 0.125 };
/** Relative error of the loss that quantizeLinear reports. Measured: at most 1.3e-5. */
const REPORTED_LOSS = { f64: 1e-9, f32: 1e-4 };

interface Judgement {
  readonly expected: OracleResult;
  readonly rtnLoss: number;
  /** tr(W H Wᵀ). */
  readonly energy: number;
  readonly truth: readonly Float64Array[];
}

const JUDGEMENTS = new Map<GptqCase, Judgement>();

/** The oracle's word on a case, worked out once for all engines. */
function judge(test: GptqCase): Judgement {
  const known = JUDGEMENTS.get(test);
  if (known !== undefined) return known;
  const problem = makeProblem(test.problem);
  const truth = hessianOf(problem);
  const judgement = {
    expected: oracle(problem, test.spec),
    rtnLoss: oracle(problem, { ...test.spec, method: 'rtn' }).loss,
    energy: quadraticLoss(truth, liveWeight(problem.weight, problem.inFeatures, test.problem.dead)),
    truth,
  };
  JUDGEMENTS.set(test, judgement);
  return judgement;
}

async function checkCase(engine: Engine, test: GptqCase, precision: 'f32' | 'f64'): Promise<void> {
  const problem = makeProblem(test.problem);
  const { expected, rtnLoss, energy, truth } = judge(test);
  const strict = strictEngine(engine, test);
  const before = engine.memory().tensors;
  const { linear, stats, method } = await runQuantizer(strict, problem, test.spec);
  expect(engine.memory().tensors).toBe(before);
  expect(method).toBe('gptq');

  const comparison = compareCodes(linear, expected, DISTANCE[precision]);
  expect(comparison.faults).toEqual([]);
  expect(comparison.boundaryRows).toBeLessThanOrEqual(BOUNDARY_ROWS[precision] * problem.outFeatures);

  const loss = quadraticLoss(truth, residual(problem, linear, test.problem.dead));
  expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(0.01);
  expect(Math.abs((stats.loss ?? NaN) / loss - 1)).toBeLessThan(REPORTED_LOSS[precision]);
  expect(Math.abs((stats.rtnLoss ?? NaN) / rtnLoss - 1)).toBeLessThan(2e-3);
  expect(Math.abs((stats.relativeOutputError ?? NaN) / (loss / energy) - 1)).toBeLessThan(2e-3);
  expect(stats.loss ?? NaN).toBeLessThan(stats.rtnLoss ?? NaN);
  expect(stats.dampTried).toEqual([test.spec.damp]);
  expect(stats.deadColumns).toBe(test.problem.dead?.length ?? 0);
}

function liveWeight(weight: Float32Array, columns: number, dead: readonly number[] = []): Float64Array {
  return Float64Array.from(weight, (w, index) => (dead.includes(index % columns) ? 0 : w));
}

describe('GPTQ against the oracle · cpu f64', () => {
  it.each(GPTQ_CASES)('$title', async (test) => {
    const engine = await openOracle();
    await checkCase(engine, test, 'f64');
    await engine.dispose();
  });
});

describeEngines('GPTQ against the oracle', (make) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await make();
  });
  afterAll(() => engine.dispose());

  it.each(GPTQ_CASES)('$title', (test) => checkCase(engine, test, 'f32'));
});
