// Plan: GPTQ on each engine against the un-batched float64 oracle, for every case of the table: groups, codes and
// scales equal but for rows that part at a rounding boundary; loss within 1 %; better than round-to-nearest; no leaks.
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { describeEngines, openOracle } from '../helpers/engines.js';
import { compareCodes } from './compare-codes.js';
import { GPTQ_CASES } from './gptq-cases.js';
import type { GptqCase } from './gptq-cases.js';
import { hessianOf, oracle, quadraticLoss } from './oracle.js';
import { makeProblem } from './problem.js';
import { residual, runQuantizer } from './run-quantizer.js';
import { strictEngine } from './strict-engine.js';

/** Distance to a rounding boundary, in codes, below which engines may round apart. */
const DISTANCE = { f64: 1e-9, f32: 5e-3 };
/** Share of rows that may part from the oracle at a boundary. */
const BOUNDARY_ROWS = { f64: 0, f32: 0.25 };

async function checkCase(engine: Engine, test: GptqCase, precision: 'f32' | 'f64'): Promise<void> {
  const problem = makeProblem(test.problem);
  const expected = oracle(problem, test.spec);
  const rtn = oracle(problem, { ...test.spec, method: 'rtn' });
  const strict = strictEngine(engine, test);
  const before = engine.memory().tensors;
  const { linear, stats, method } = await runQuantizer(strict, problem, test.spec);
  expect(engine.memory().tensors).toBe(before);
  expect(method).toBe('gptq');

  const comparison = compareCodes(linear, expected, DISTANCE[precision]);
  expect(comparison.faults).toEqual([]);
  expect(comparison.boundaryRows).toBeLessThanOrEqual(BOUNDARY_ROWS[precision] * problem.outFeatures);

  const truth = hessianOf(problem);
  const loss = quadraticLoss(truth, residual(problem, linear, test.problem.dead));
  const energy = quadraticLoss(
    truth,
    residualOfNothing(problem.weight, problem.inFeatures, test.problem.dead),
  );
  expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(0.01);
  expect(Math.abs((stats.loss ?? NaN) / loss - 1)).toBeLessThan(1e-3);
  expect(Math.abs((stats.rtnLoss ?? NaN) / rtn.loss - 1)).toBeLessThan(2e-3);
  expect(Math.abs((stats.relativeOutputError ?? NaN) / (loss / energy) - 1)).toBeLessThan(2e-3);
  expect(stats.loss ?? NaN).toBeLessThan(stats.rtnLoss ?? NaN);
  expect(stats.dampTried).toEqual([test.spec.damp]);
  expect(stats.deadColumns).toBe(test.problem.dead?.length ?? 0);
}

function residualOfNothing(
  weight: Float32Array,
  columns: number,
  dead: readonly number[] = [],
): Float64Array {
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
  it.each(GPTQ_CASES)('$title', async (test) => {
    const engine = await make();
    await checkCase(engine, test, 'f32');
    await engine.dispose();
  });
});
