import { expect, it } from 'vitest';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import { describeKernels } from '../kernel-cases.js';
import { float32s, largestError, place, STRIDED, upload, WHOLE } from '../placed.js';

/**
 * Relative error of the divergence with a floor of 1e-9. Measured over all cases: lavapipe 2.0e-6, SwiftShader 2.0e-6,
 * cpu f32 5e-8. For comparison: Σ P·(ln P − ln Q) summed as it stands in float32 is off by 1e-7 absolutely.
 */
const MAX_KL_ERROR = 6e-6;
/** Relative error of a probability with a floor of 1e-20: exp of −40 has 80 ULP. Measured 2.0e-6. */
const MAX_PROBABILITY_ERROR = 1e-5;

interface Case {
  readonly rows: number;
  readonly vocab: number;
  /** Standard deviation of the difference between the two rows of logits. */
  readonly noise: number;
  /** Added to all logits of the second row; must not matter. */
  readonly shift?: number;
}

// Plan: from identical over nearly equal logits to unrelated and opposite ones; vocabulary sizes around the workgroup
// and a large one; a common shift of the logits.
const CASES: readonly Case[] = [
  { rows: 1, vocab: 1, noise: 0 },
  { rows: 4, vocab: 257, noise: 0 },
  { rows: 4, vocab: 1000, noise: 1e-6 },
  { rows: 4, vocab: 1000, noise: 1e-3, shift: 7 },
  { rows: 6, vocab: 2048, noise: 0.1 },
  { rows: 6, vocab: 2048, noise: 1, shift: -3 },
  { rows: 6, vocab: 300, noise: 30 },
  { rows: 2, vocab: 151936, noise: 0.01 },
];

interface Inputs {
  readonly reference: Float32Array;
  readonly logits: Float32Array;
  readonly targets: readonly number[];
}

function makeInputs({ rows, vocab, noise, shift = 0 }: Case): Inputs {
  const rng = createRng(21);
  const reference = float32s(rows * vocab, () => 4 * rng.normal());
  const logits = reference.map((value) => value + noise * rng.normal() + shift);
  return { reference, logits, targets: Array.from({ length: rows }, () => rng.int(vocab)) };
}

/** stats [n, 4] straight from the definition, in float64 on the float32 logits. */
function naive({ reference, logits, targets }: Inputs, vocab: number): Float64Array {
  const logSoftmax = (row: Float32Array): Float64Array => {
    const top = row.reduce((a, b) => Math.max(a, b));
    const total = row.reduce((sum, value) => sum + Math.exp(value - top), 0);
    return Float64Array.from(row, (value) => value - top - Math.log(total));
  };
  const firstTop = (row: Float32Array): number => row.indexOf(row.reduce((a, b) => Math.max(a, b)));
  return Float64Array.from(
    targets.flatMap((target, i) => {
      const x = reference.subarray(i * vocab, (i + 1) * vocab);
      const y = logits.subarray(i * vocab, (i + 1) * vocab);
      const p = logSoftmax(x);
      const q = logSoftmax(y);
      const kl = p.reduce((sum, value, j) => sum + Math.exp(value) * (value - q[j]), 0);
      return [kl, Math.exp(p[target]), Math.exp(q[target]), firstTop(x) === firstTop(y) ? 1 : 0];
    }),
  );
}

function run(engine: Engine, test: Case, inputs: Inputs, layout = WHOLE): Promise<ArrayLike<number>> {
  const { rows, vocab: cols } = test;
  const stats = engine.create([rows, 4], 'f32', 'stats');
  engine.tokenDivergence({
    reference: place(engine, 'reference', { rows, cols, values: inputs.reference, layout }).view,
    logits: place(engine, 'logits', { rows, cols, values: inputs.logits, layout }).view,
    targets: upload(engine, 'targets', 'u32', [rows], inputs.targets),
    stats,
  });
  return engine.read(stats);
}

const column = (stats: ArrayLike<number>, index: number): number[] =>
  Array.from(stats).filter((_, i) => i % 4 === index);

describeKernels('tokenDivergence', (pair) => {
  it.each(CASES)('$rows rows of $vocab logits, noise $noise', async (test) => {
    const inputs = makeInputs(test);
    const { engine, oracle } = pair();
    const expected = await run(oracle, test, inputs);
    // The definition itself cancels; the oracle has to agree with it as far as float64 allows.
    expect(largestError(expected, naive(inputs, test.vocab), 1e-3)).toBeLessThan(1e-10);
    for (const layout of [WHOLE, STRIDED]) {
      const found = await run(engine, test, inputs, layout);
      expect(Math.min(...column(found, 0))).toBeGreaterThanOrEqual(0);
      expect(largestError(column(found, 0), column(expected, 0), 1e-9)).toBeLessThan(MAX_KL_ERROR);
      for (const index of [1, 2])
        expect(largestError(column(found, index), column(expected, index), 1e-20)).toBeLessThan(
          MAX_PROBABILITY_ERROR,
        );
      expect(column(found, 3)).toEqual(column(expected, 3));
    }
  });

  it('lets the first of equal logits win', async () => {
    const test = { rows: 3, vocab: 600, noise: 0 };
    const reference = new Float32Array(3 * 600);
    const logits = new Float32Array(3 * 600);
    // Row 0: ties at 40 and 300 against a top at 40: same. Row 1: against one at 300: different. Row 2: all equal: same.
    for (const at of [40, 300, 600 + 40, 600 + 300]) reference[at] = 2;
    logits[40] = 2;
    logits[600 + 300] = 2;
    const found = await run(pair().engine, test, { reference, logits, targets: [0, 1, 2] });
    expect(column(found, 3)).toEqual([1, 0, 1]);
    expect(found[8]).toBe(0);
  });
});
