/**
 * Plan: perplexity and divergence of tiny models against figures computed here, in float64, from logits that the test
 * collects by itself; a model with itself diverges by nothing; cuts into micro-batches and chunks change nothing; nothing
 * stays on the engine, and peak memory does not grow with the number of windows.
 */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import { NumericError, UserError } from '../../src/core/errors.js';
import type { Engine } from '../../src/engine/engine.js';
import { readReals } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import type { Evaluation } from '../../src/eval/index.js';
import { evaluateModel } from '../../src/eval/index.js';
import { loadHead, runLayers } from '../../src/model/index.js';
import type { MapSourceOptions, TinyModel } from '../helpers/checkpoint-source.js';
import { createMapSource, readTiny } from '../helpers/checkpoint-source.js';
import { describeEngines, openOracle } from '../helpers/engines.js';

const TEXT = { name: 'test text', sha256: 'ab'.repeat(32) };

/** Changes one weight matrix a little, from a seed. */
const NUDGE: MapSourceOptions = {
  change: (name, values) => {
    const rng = createRng(5);
    if (name.endsWith('gate_proj.weight')) values.forEach((v, i) => (values[i] = v + 0.02 * rng.normal()));
  },
};

function makeWindows(tiny: TinyModel, count: number, seqLen: number): Uint32Array[] {
  const rng = createRng(9);
  return Array.from({ length: count }, () =>
    Uint32Array.from({ length: seqLen }, () => rng.int(tiny.config.vocabSize)),
  );
}

interface Run {
  readonly windows: readonly Uint32Array[];
  readonly model?: MapSourceOptions;
  readonly reference?: MapSourceOptions;
  readonly batchTokens?: number;
  readonly logitBytes?: number;
}

async function evaluate(engine: Engine, tiny: TinyModel, run: Run): Promise<Evaluation> {
  const { config, tensors } = tiny;
  return evaluateModel({
    engine,
    model: { config, source: createMapSource(engine, tensors, run.model) },
    reference:
      run.reference === undefined
        ? undefined
        : { config, source: createMapSource(engine, tensors, run.reference) },
    windows: run.windows,
    text: TEXT,
    batchTokens: run.batchTokens,
    logitBytes: run.logitBytes,
  });
}

/** ln softmax of every scored row, [rows][V]. */
async function logProbabilities(tiny: TinyModel, windows: readonly Uint32Array[], options: MapSourceOptions) {
  const engine = await openOracle();
  const { config } = tiny;
  const source = createMapSource(engine, tiny.tensors, options);
  const hidden = await runLayers({ engine, config, source, windows });
  const head = await loadHead({ engine, config, source });
  const rows: Float64Array[] = [];
  for (const { batch, states } of hidden) {
    const x = engine.upload(states, [batch.tokens.length, config.hiddenSize], 'f32', 'x');
    const logits = await readReals(engine, head.logits(asMatrix(x)));
    for (let row = 0; row < batch.tokens.length; row++) {
      if (row % batch.seqLen === batch.seqLen - 1) continue;
      const values = Float64Array.from(logits.subarray(row * config.vocabSize, (row + 1) * config.vocabSize));
      const max = Math.max(...values);
      const norm = max + Math.log(values.reduce((sum, v) => sum + Math.exp(v - max), 0));
      rows.push(values.map((v) => v - norm));
    }
  }
  await engine.dispose();
  return rows;
}

async function expectedFigures(tiny: TinyModel, windows: readonly Uint32Array[]) {
  const reference = await logProbabilities(tiny, windows, {});
  const model = await logProbabilities(tiny, windows, NUDGE);
  const targets = windows.flatMap((window) => Array.from(window.subarray(1)));
  const n = targets.length;
  expect(model.length).toBe(n);
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / n;
  const losses = targets.map((target, i) => -model[i][target]);
  const referenceLosses = targets.map((target, i) => -reference[i][target]);
  const klds = reference.map((row, i) => row.reduce((sum, p, j) => sum + Math.exp(p) * (p - model[i][j]), 0));
  const sorted = [...klds].sort((a, b) => a - b);
  const quantile = (p: number): number => {
    const at = p * (n - 1);
    return sorted[Math.floor(at)] + (at % 1) * (sorted[Math.ceil(at)] - sorted[Math.floor(at)]);
  };
  const differences = losses.map((loss, i) => loss - referenceLosses[i]);
  const variance = mean(differences.map((d) => (d - mean(differences)) ** 2)) * (n / (n - 1));
  const deltas = targets.map((target, i) => Math.exp(model[i][target]) - Math.exp(reference[i][target]));
  const top = (row: Float64Array): number => row.indexOf(Math.max(...row));
  return {
    tokens: n,
    perplexity: Math.exp(mean(losses)),
    reference: {
      perplexity: Math.exp(mean(referenceLosses)),
      kld: { mean: mean(klds), median: quantile(0.5), p99: quantile(0.99), max: sorted[n - 1] },
      rmsDeltaP: Math.sqrt(mean(deltas.map((d) => d * d))),
      sameTop: mean(reference.map((row, i) => (top(row) === top(model[i]) ? 1 : 0))),
      lnPplRatio: mean(differences),
      lnPplRatioStdErr: Math.sqrt(variance / n),
    },
  };
}

type Figures = Awaited<ReturnType<typeof expectedFigures>>;

function expectFigures(actual: Evaluation, expected: Figures, relative: number): void {
  const { reference } = actual;
  if (reference === undefined) throw new Error('no comparison');
  const pairs: [string, number, number][] = [
    ['perplexity', actual.perplexity, expected.perplexity],
    ['reference perplexity', reference.perplexity, expected.reference.perplexity],
    ['kld mean', reference.kld.mean, expected.reference.kld.mean],
    ['kld median', reference.kld.median, expected.reference.kld.median],
    ['kld p99', reference.kld.p99, expected.reference.kld.p99],
    ['kld max', reference.kld.max, expected.reference.kld.max],
    ['rmsDeltaP', reference.rmsDeltaP, expected.reference.rmsDeltaP],
    ['sameTop', reference.sameTop, expected.reference.sameTop],
    ['lnPplRatioStdErr', reference.lnPplRatioStdErr, expected.reference.lnPplRatioStdErr],
  ];
  expect(actual.tokens).toBe(expected.tokens);
  for (const [name, value, want] of pairs)
    expect(Math.abs(value - want) <= relative * Math.abs(want), `${name}: ${value}, expected ${want}`).toBe(
      true,
    );
  // A difference of nearly equal losses: bounded by its standard error instead of by itself.
  const spread = expected.reference.lnPplRatioStdErr;
  expect(Math.abs(reference.lnPplRatio - expected.reference.lnPplRatio) <= relative * spread * 10).toBe(true);
}

const tiny = readTiny('llama-untied-llama3');
const windows = makeWindows(tiny, 5, 23);
const expected = await expectedFigures(tiny, windows);

describe('evaluation on the oracle', () => {
  it('gives the figures computed here', async () => {
    expect(expected.reference.kld.mean).toBeGreaterThan(1e-4);
    expect(expected.reference.sameTop).toBeLessThan(1);
    const engine = await openOracle();
    const found = await evaluate(engine, tiny, { windows, model: NUDGE, reference: {} });
    expectFigures(found, expected, 1e-9);
    expect(found.protocol).toEqual({
      text: TEXT.name,
      sha256: TEXT.sha256,
      seqLen: 23,
      stride: 23,
      windows: 5,
      dtype: 'float64',
    });
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});

describeEngines('evaluation', (make) => {
  it('gives the figures of the oracle, in whole and in small pieces', async () => {
    const engine = await make();
    // float32 divergences near 1e-3 carry rounding of about 1e-7.
    const whole = await evaluate(engine, tiny, { windows, model: NUDGE, reference: {} });
    expectFigures(whole, expected, 1e-3);
    expect(whole.protocol.dtype).toBe('float32');
    const pieces = { batchTokens: 23, logitBytes: 7 * tiny.config.vocabSize * 4 };
    const small = await evaluate(engine, tiny, { windows, model: NUDGE, reference: {}, ...pieces });
    expectFigures(small, expected, 1e-3);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });

  it('finds no divergence of a model from itself', async () => {
    const engine = await make();
    const { reference } = await evaluate(engine, tiny, { windows, reference: {} });
    expect(Math.abs(reference?.kld.mean ?? NaN) <= 1e-7).toBe(true);
    expect(Math.abs(reference?.kld.max ?? NaN) <= 1e-6).toBe(true);
    expect(reference?.sameTop).toBe(1);
    expect(reference?.rmsDeltaP).toBe(0);
    expect(reference?.lnPplRatio).toBe(0);
    await engine.dispose();
  });

  it('needs no more engine memory for more windows', async () => {
    const engine = await make();
    const peakOf = async (count: number): Promise<number> => {
      engine.resetPeak();
      const options = { batchTokens: 46, logitBytes: 4096 };
      await evaluate(engine, tiny, { windows: makeWindows(tiny, count, 23), reference: NUDGE, ...options });
      await engine.sync();
      return engine.memory().peakBytes;
    };
    const first = await peakOf(4);
    expect(await peakOf(12)).toBeLessThanOrEqual(first * 1.01);
    await engine.dispose();
  });
});

describe('evaluation without a reference', () => {
  it('gives perplexity alone', async () => {
    const engine = await openOracle();
    const found = await evaluate(engine, tiny, { windows });
    expect(found.perplexity).toBeCloseTo(expected.reference.perplexity, 9);
    expect('reference' in found).toBe(false);
    await engine.dispose();
  });

  it('refuses windows without a token to score', async () => {
    const engine = await openOracle();
    for (const none of [[], [Uint32Array.of(3)]])
      await expect(evaluate(engine, tiny, { windows: none })).rejects.toThrow(UserError);
    await engine.dispose();
  });

  it('refuses a reference with another vocabulary', async () => {
    const engine = await openOracle();
    const source = createMapSource(engine, tiny.tensors);
    const model = { config: tiny.config, source };
    const reference = { config: { ...tiny.config, vocabSize: 145 }, source };
    const run = evaluateModel({ engine, model, reference, windows, text: TEXT });
    await expect(run).rejects.toThrow(/vocabulary of 144, the reference one of 145/);
    await engine.dispose();
  });

  it('names window and token of a loss that is not finite', async () => {
    const engine = await openOracle();
    const broken: MapSourceOptions = {
      change: (name, values) => {
        if (name === 'lm_head.weight') values[0] = NaN;
      },
    };
    const run = evaluate(engine, tiny, { windows, model: broken });
    await expect(run).rejects.toThrow(NumericError);
    await expect(run).rejects.toThrow(/window 0, token 1/);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});
