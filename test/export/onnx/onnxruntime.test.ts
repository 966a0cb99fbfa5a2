/**
 * Plan: every tiny architecture and the bundled model, rounded to 4 bits by a naive quantizer and written as ONNX, run in
 * onnxruntime: logits of a prefill against the float64 engine on the same codes, and a prefill of some tokens followed by
 * single steps through the cache against the whole. Control: another grid's codes fail the bound.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readReals } from '../../../src/engine/engine.js';
import { asMatrix } from '../../../src/engine/tensor.js';
import type { OnnxFormatName } from '../../../src/export/formats/onnx.js';
import { onnxFormat } from '../../../src/export/formats/onnx.js';
import { loadHead, runLayers } from '../../../src/model/index.js';
import type { ModelConfig } from '../../../src/model/index.js';
import { createOutputFolder } from '../../../src/platform/node/files/output-folder.js';
import type { FileTensor } from '../../helpers/checkpoint-source.js';
import { createMapSource, readTiny } from '../../helpers/checkpoint-source.js';
import { openOracle } from '../../helpers/engines.js';
import { openDecoder } from './decoder-session.js';
import type { NearestSpec } from './written-model.js';
import { readFixture, writeFixture } from './written-model.js';

const TINY = ['llama', 'llama-linear', 'llama-untied-llama3', 'llama-yarn', 'mistral', 'qwen2', 'qwen3'];
/** Consumers computing in float32 and in 16 bits; measured: see each test's output. */
const BARS: Readonly<Record<OnnxFormatName, number>> = { 'onnx-q4': 1e-6, 'onnx-q4f16': 1e-4 };

/** Logits [tokens, V] by our own forward in float64. */
async function ownLogits(
  config: ModelConfig,
  tensors: Map<string, FileTensor>,
  window: Uint32Array,
): Promise<Float64Array> {
  const engine = await openOracle();
  const source = createMapSource(engine, tensors);
  const [{ states }] = await runLayers({ engine, config, source, windows: [window] });
  const head = await loadHead({ engine, config, source });
  const x = engine.upload(states, [window.length, config.hiddenSize], 'f32', 'states');
  return Float64Array.from(await readReals(engine, head.logits(asMatrix(x))));
}

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

async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const root = mkdtempSync(join(tmpdir(), 'halfbyte-onnx-'));
  try {
    return await run(join(root, 'model'));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

interface Case extends NearestSpec {
  readonly fixture: string;
  readonly window: Uint32Array;
  readonly leave?: readonly string[];
  readonly head?: boolean;
}

async function compare(
  name: OnnxFormatName,
  test: Case,
): Promise<{ whole: number; stepped: number; other: number }> {
  return inFolder(async (path) => {
    const fixture = readFixture(test.fixture);
    const folder = await createOutputFolder(path);
    const { model, tensors } = await writeFixture(onnxFormat(name), folder, fixture, test);
    const { config } = model;
    const expected = await ownLogits(config, tensors, test.window);
    const decoder = await openDecoder(path, `model_${name.slice(5)}.onnx`, {
      layers: config.numHiddenLayers,
      kvHeads: config.numKeyValueHeads,
      headDim: config.headDim,
      type: name === 'onnx-q4' ? 'float32' : 'float16',
    });
    try {
      const whole = await decoder.step(test.window);
      const prefix = Math.floor(test.window.length / 2);
      const stepped = [...(await decoder.step(test.window.subarray(0, prefix)))];
      for (let i = prefix; i < test.window.length; i++)
        stepped.push(...(await decoder.step(test.window.subarray(i, i + 1), false)));
      return {
        whole: nmse(whole, expected),
        stepped: nmse(stepped, expected),
        other: nmse(whole, await ownLogits(config, fixture.tensors, test.window)),
      };
    } finally {
      await decoder.release();
    }
  });
}

const NAMES: readonly OnnxFormatName[] = ['onnx-q4', 'onnx-q4f16'];

describe.each(NAMES)('%s in onnxruntime', (name) => {
  const expectClose = async (test: Case): Promise<void> => {
    const { whole, stepped, other } = await compare(name, test);
    process.stdout.write(`${name} ${test.fixture}: ${JSON.stringify({ whole, stepped, other })}\n`);
    expect(whole).toBeLessThanOrEqual(BARS[name]);
    expect(stepped).toBeLessThanOrEqual(BARS[name]);
    // Control: the unrounded model is another model.
    expect(other).toBeGreaterThan(BARS[name] * 10);
  };

  it.each(TINY)('runs the tiny %s', async (tiny) => {
    const window = readTiny(tiny).windows[0];
    await expectClose({ fixture: `tiny/${tiny}`, window, bits: 4, groupSize: 32, symmetric: true });
  });

  it('runs asymmetric grids of 2 and 8 bits, a quantized head, and linears left alone', async () => {
    const window = readTiny('llama-untied-llama3').windows[1];
    const fixture = 'tiny/llama-untied-llama3';
    await expectClose({ fixture, window, bits: 2, groupSize: 16, symmetric: false, head: true });
    const leave = ['model.layers.0.mlp.down_proj', 'model.layers.1.self_attn.q_proj'];
    const shared = { fixture, window, groupSize: -1, symmetric: false, leave };
    await expectClose({ ...shared, bits: 4 });
  });

  it('runs the bundled model', async () => {
    const window = Uint32Array.from({ length: 48 }, (_, i) => (i * 37 + 11) % 2048);
    await expectClose({ fixture: 'bundled', window, bits: 4, groupSize: 32, symmetric: false });
  });
});
