/**
 * Plan: the forward pass of each tiny checkpoint against logits that transformers recorded in float32: NMSE ≤ 1e-8 and
 * the same argmax at every position, on the float64 oracle and on every engine present. Control: a changed weight fails
 * the bound. Micro-batches, panels and chunks change nothing; nothing leaks.
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import { readReals } from '../../src/engine/engine.js';
import { asMatrix, rowRange } from '../../src/engine/tensor.js';
import { loadDecoderLayer, loadHead, runLayers } from '../../src/model/index.js';
import type { MapSourceOptions, TinyModel } from '../helpers/checkpoint-source.js';
import { createMapSource, readTiny } from '../helpers/checkpoint-source.js';
import { describeEngines, openOracle } from '../helpers/engines.js';

const TINY = readdirSync(fileURLToPath(new URL('../fixtures/tiny/', import.meta.url)), {
  withFileTypes: true,
})
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);
/** The bar of the project. Measured: 1e-13 to 8e-13 on every engine, the rounding of the recorded float32 logits. */
const MAX_NMSE = 1e-8;

interface RunOptions extends MapSourceOptions {
  readonly batchTokens?: number;
  /** Rows of logits per call of the head. */
  readonly headRows?: number;
}

/** Logits [rows, V] of all windows. */
async function forward(engine: Engine, tiny: TinyModel, options: RunOptions = {}): Promise<Float64Array> {
  const source = createMapSource(engine, tiny.tensors, options);
  const { config, windows } = tiny;
  const batchTokens = options.batchTokens ?? 2048;
  const hidden = await runLayers({ engine, config, source, windows, batchTokens });
  const head = await loadHead({ engine, config, source });
  const all = new Float64Array(windows.length * windows[0].length * config.vocabSize);
  let at = 0;
  for (const { batch, states } of hidden) {
    const rows = batch.tokens.length;
    const x = engine.upload(states, [rows, config.hiddenSize], 'f32', 'states');
    const step = options.headRows ?? rows;
    for (let row = 0; row < rows; row += step) {
      const logits = head.logits(rowRange(asMatrix(x), row, Math.min(step, rows - row)));
      const values = await readReals(engine, logits);
      all.set(values, at);
      at += values.length;
      engine.free(logits);
    }
    engine.free(x);
  }
  head.free();
  expect(at).toBe(all.length);
  return all;
}

/** Normalised mean square error; NaN in either makes it NaN, which no bound accepts. */
function nmse(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let error = 0;
  let power = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    power += expected[i] ** 2;
  }
  return error / power;
}

function argmaxes(logits: ArrayLike<number>, vocab: number): number[] {
  return Array.from({ length: logits.length / vocab }, (_, row) => {
    let best = 0;
    for (let i = 1; i < vocab; i++) if (logits[row * vocab + i] > logits[row * vocab + best]) best = i;
    return best;
  });
}

function expectAgreement(actual: Float64Array, tiny: TinyModel): void {
  expect(nmse(actual, tiny.logits)).toBeLessThanOrEqual(MAX_NMSE);
  expect(argmaxes(actual, tiny.config.vocabSize)).toEqual(argmaxes(tiny.logits, tiny.config.vocabSize));
}

describe('fixtures', () => {
  it('cover every architecture', () => {
    expect(TINY.length).toBeGreaterThanOrEqual(7);
    const types = TINY.map((name) => readTiny(name).config.modelType);
    expect([...new Set(types)].sort()).toEqual(['llama', 'mistral', 'qwen2', 'qwen3']);
  });
});

describe.each(TINY)('logits of %s · cpu f64', (name) => {
  it('agree with transformers', async () => {
    const engine = await openOracle();
    const tiny = readTiny(name);
    expectAgreement(await forward(engine, tiny), tiny);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});

describeEngines('logits', (make) => {
  it.each(TINY)('of %s agree with transformers and leave nothing on the engine', async (name) => {
    const engine = await make();
    const tiny = readTiny(name);
    expectAgreement(await forward(engine, tiny), tiny);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });

  it.each(['llama', 'qwen3'])('of %s in small pieces agree as well', async (name) => {
    const engine = await make();
    const tiny = readTiny(name);
    const pieces = { batchTokens: 1, headRows: 7, panelBytes: 29 * tiny.config.hiddenSize * 4 };
    expectAgreement(await forward(engine, tiny, pieces), tiny);
    await engine.dispose();
  });
});

describe('the comparison', () => {
  it('fails when one weight tensor changes by 0.1 %', async () => {
    const engine = await openOracle();
    const tiny = readTiny('llama');
    const changed = await forward(engine, tiny, {
      change: (name, values) => {
        if (name.endsWith('layers.1.mlp.down_proj.weight')) values.forEach((v, i) => (values[i] = v * 1.001));
      },
    });
    expect(nmse(changed, tiny.logits)).toBeGreaterThan(MAX_NMSE);
    await engine.dispose();
  });

  it('fails on NaN', () => {
    expect(nmse([1, NaN], [1, 2]) <= MAX_NMSE).toBe(false);
  });
});

describe('a layer', () => {
  it('frees what it loaded when a later tensor fails', async () => {
    const engine = await openOracle();
    const tiny = readTiny('qwen2');
    for (const failAt of ['self_attn.v_proj.weight', 'self_attn.k_proj.bias', 'mlp.down_proj.weight']) {
      const source = createMapSource(engine, tiny.tensors, { failAt: `model.layers.0.${failAt}` });
      await expect(loadDecoderLayer({ engine, config: tiny.config, source, index: 0 })).rejects.toThrow(
        failAt,
      );
      expect(engine.memory().tensors).toBe(0);
    }
    await engine.dispose();
  });

  it('reports where a value stops being finite', async () => {
    const engine = await openOracle();
    const tiny = readTiny('llama');
    const run = forward(engine, tiny, {
      change: (name, values) => {
        if (name === 'model.layers.1.mlp.up_proj.weight') values[5] = Infinity;
      },
    });
    await expect(run).rejects.toThrow(/model\.layers\.1, forward, element \d+/);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });

  it('refuses token ids that the embedding does not have', async () => {
    const engine = await openOracle();
    const tiny = readTiny('llama');
    const windows = [Uint32Array.of(1, tiny.config.vocabSize, 9999)];
    await expect(forward(engine, { ...tiny, windows })).rejects.toThrow(/token ids 144, 9999 are beyond/);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});
