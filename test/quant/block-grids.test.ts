// Plan: every rule of llama.cpp's blocks through quantizeLinear and out as a record. On the float64 engine the values are
// those of the un-batched oracle; on every engine the loss is the oracle's within 3 % (float32 may settle for another trial
// of equal error), below round-to-nearest's, not above it after refinement; records obey their ranges.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { roundToF16 } from '../../src/core/dtype.js';
import type { Engine } from '../../src/engine/engine.js';
import type { QuantSpec } from '../../src/quant/index.js';
import { describeEngines, openOracle } from '../helpers/engines.js';
import { blockOracle } from './block-oracle.js';
import type { BlockOracle } from './block-oracle.js';
import { hessianOf, quadraticLoss } from './oracle.js';
import { DEFAULT_SPEC, makeProblem } from './problem.js';
import type { Problem, ProblemOptions } from './problem.js';
import { runRecord } from './run-quantizer.js';
import type { RecordOutcome } from './run-quantizer.js';
import { strictEngine } from './strict-engine.js';

interface Case {
  readonly title: string;
  readonly problem: ProblemOptions;
  readonly spec: QuantSpec;
}

function makeCase(title: string, spec: Partial<QuantSpec>, problem: Partial<ProblemOptions> = {}): Case {
  return {
    title,
    problem: { outFeatures: 20, inFeatures: 256, seed: 71, ...problem },
    spec: { ...DEFAULT_SPEC, groupSize: 32, ...spec },
  };
}

const CASES: readonly Case[] = [
  makeCase('Q4_0', { rule: 'signed' }, { inFeatures: 160 }),
  makeCase('Q4_0, fitted', { rule: 'signed', range: 'mse' }, { inFeatures: 160, seed: 72 }),
  makeCase('Q5_0, fitted', { rule: 'signed', bits: 5, range: 'mse' }, { seed: 73 }),
  makeCase('Q8_0', { rule: 'signed', bits: 8 }, { inFeatures: 96, seed: 74 }),
  makeCase('Q4_1', { rule: 'min' }, { seed: 75 }),
  makeCase('Q4_1, fitted', { rule: 'min', range: 'mse' }, { inFeatures: 160, seed: 76 }),
  makeCase('Q4_1, fitted, static', { rule: 'min', range: 'mse', staticGroups: true }, { seed: 77 }),
  makeCase('Q4_K, one super-block', { rule: 'q4_k' }, { seed: 78 }),
  makeCase('Q4_K', { rule: 'q4_k' }, { inFeatures: 768, outFeatures: 6, tokens: 300, seed: 79 }),
  makeCase('Q6_K', { rule: 'q6_k', bits: 6, groupSize: 16 }, { inFeatures: 512, outFeatures: 6, seed: 80 }),
];
/** The oracle knows dynamic groups only. */
const DYNAMIC = CASES.filter(({ spec }) => !spec.staticGroups);

const ORACLES = new Map<Case, BlockOracle>();

function judge(test: Case): BlockOracle {
  const known = ORACLES.get(test) ?? blockOracle(makeProblem(test.problem), test.spec);
  ORACLES.set(test, known);
  return known;
}

function lossOf(problem: Problem, { record }: RecordOutcome): number {
  const values = dequantizeLinear(record);
  const d = Float64Array.from(problem.weight, (w, i) => w - values[i]);
  return quadraticLoss(hessianOf(problem), d);
}

/** What is wrong with a record, or ''. */
function recordFault({ record }: RecordOutcome, spec: QuantSpec): string {
  const exact = (values: Float32Array): boolean => values.every((value) => roundToF16(value) === value);
  if (record.kind === 'affine') {
    if (spec.rule !== 'signed' || record.bits !== spec.bits) return 'kind affine';
    if (!record.zeros.every((zero) => zero === 2 ** (spec.bits - 1))) return 'zeros';
    if (!record.scales.some((scale) => scale < 0)) return 'no scale is negative';
    return exact(record.scales) ? '' : 'scales';
  }
  if (record.kind === 'affine-min') {
    if (spec.rule !== 'min') return 'kind affine-min';
    return exact(record.scales) && exact(record.mins) ? '' : 'scales or minima';
  }
  const { type, outFeatures, inFeatures, d, dmin, scales, mins } = record;
  const blocks = (outFeatures * inFeatures) / 256;
  if (type !== spec.rule || d.length !== blocks || !exact(d) || !exact(dmin)) return 'd';
  if (scales.length !== blocks * (type === 'q4_k' ? 8 : 16) || scales.includes(0)) return 'scales';
  if (type === 'q6_k') return dmin.length + mins.length === 0 ? '' : 'minima of q6_k';
  if (dmin.length !== blocks || mins.length !== scales.length) return 'minima';
  return scales.every((scale) => scale > 0 && scale < 64) && mins.every((min) => min < 64) ? '' : 'multiples';
}

describe('block grids against the oracle · cpu f64', () => {
  it.each(DYNAMIC)('$title', async (test) => {
    const engine = await openOracle();
    const { record } = await runRecord(engine, makeProblem(test.problem), test.spec);
    const expected = judge(test);
    const values = dequantizeLinear(record);
    // A code that is off by one would differ by the scale; minima pass through float32.
    const worst = values.reduce((most, value, i) => {
      const off = Math.abs(value - expected.values[i]);
      return off <= most ? most : off;
    }, 0);
    expect(worst).toBeLessThan(1e-6);
    await engine.dispose();
  });
});

describeEngines('block grids', (make) => {
  let raw: Engine;
  let engine: Engine;
  beforeAll(async () => {
    raw = await make();
    engine = strictEngine(raw);
  });
  afterAll(() => raw.dispose());

  it.each(CASES)('$title: GPTQ, round to nearest, refinement', async (test) => {
    const problem = makeProblem(test.problem);
    const before = raw.memory().tensors;
    const gptq = await runRecord(engine, problem, test.spec);
    expect(raw.memory().tensors).toBe(before);
    expect(recordFault(gptq, test.spec)).toBe('');
    const loss = lossOf(problem, gptq);
    expect(Math.abs((gptq.stats.loss ?? NaN) / loss - 1)).toBeLessThan(2e-3);
    if (!test.spec.staticGroups) expect(Math.abs(loss / judge(test).loss - 1)).toBeLessThan(0.03);
    const rtn = await runRecord(engine, problem, { ...test.spec, method: 'rtn' });
    expect(recordFault(rtn, test.spec)).toBe('');
    expect(loss).toBeLessThan(lossOf(problem, rtn));
    const refined = await runRecord(engine, problem, { ...test.spec, refine: 2 });
    expect(lossOf(problem, refined)).toBeLessThanOrEqual(loss * (1 + 1e-5));
  });

  it('gives the same bits with rows taken in chunks', async () => {
    const problem = makeProblem({ outFeatures: 70, inFeatures: 512, seed: 81, tokens: 200 });
    for (const rule of ['q4_k', 'min'] as const) {
      const spec: QuantSpec = { ...DEFAULT_SPEC, rule, groupSize: 32, refine: 1 };
      const whole = await runRecord(engine, problem, spec);
      const chunked = await runRecord(engine, problem, spec, { workBytes: 1 });
      expect(chunked.record).toEqual(whole.record);
    }
  });

  it('refuses what k-quants cannot have, all of it', async () => {
    const problem = makeProblem({ outFeatures: 4, inFeatures: 96, seed: 82 });
    const spec: QuantSpec = { ...DEFAULT_SPEC, rule: 'q4_k', groupSize: 128, bits: 3, order: 'act' };
    await expect(runRecord(engine, problem, spec)).rejects.toThrow(
      /group size 128.*32 of q4_k; 3 bits.*; act order.*natural order/,
    );
    const plain: QuantSpec = { ...DEFAULT_SPEC, rule: 'q6_k', groupSize: 16, bits: 6 };
    await expect(runRecord(engine, problem, plain)).rejects.toThrow(/in_features 96.*256 columns/);
  });
});
