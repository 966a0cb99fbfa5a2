/** Plan: an intermediate size so large that the MLP is cut into row chunks gives, row by row, what single chunks give. */
import { expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import type { Engine } from '../../src/engine/engine.js';
import { readReals } from '../../src/engine/engine.js';
import { asMatrix, rowRange } from '../../src/engine/tensor.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { loadDecoderLayer } from '../../src/model/index.js';
import type { WeightSource } from '../../src/model/index.js';
import { readTiny } from '../helpers/checkpoint-source.js';
import { describeEngines } from '../helpers/engines.js';

/** 16 MiB hold 104 rows of it, so chunks have 64. */
const INTERMEDIATE = 40_000;
const HIDDEN = 8;
const ROWS = 71;

function randomSource(engine: Engine): WeightSource {
  const rng = createRng(3);
  const make = (name: string, shape: readonly number[]): Tensor => {
    const size = shape.reduce((a, b) => a * b, 1);
    const values = Float32Array.from({ length: size }, () => 0.1 * rng.normal());
    return engine.upload(values, shape, 'f32', name);
  };
  return {
    has: () => true,
    dense: (name, shape) => Promise.resolve(make(name, shape)),
    densePanels: (name, shape) => Promise.resolve([make(name, shape)]),
    linear: (name, outFeatures, inFeatures) =>
      Promise.resolve({ kind: 'dense', tensor: make(name, [outFeatures, inFeatures]) }),
  };
}

describeEngines('the MLP in chunks', (make) => {
  it(`gives rows of ${ROWS} as rows of 64 and ${ROWS - 64} do`, async () => {
    const engine = await make();
    const config = {
      ...readTiny('llama').config,
      hiddenSize: HIDDEN,
      intermediateSize: INTERMEDIATE,
      numAttentionHeads: 1,
      numKeyValueHeads: 1,
      headDim: 2,
    };
    const layer = await loadDecoderLayer({ engine, config, source: randomSource(engine), index: 0 });
    const [, mlp] = layer.blocks;
    const rng = createRng(4);
    const states = Float32Array.from({ length: ROWS * HIDDEN }, () => rng.normal());
    const whole = engine.upload(states, [ROWS, HIDDEN], 'f32', 'whole');
    const parts = engine.upload(states, [ROWS, HIDDEN], 'f32', 'parts');
    const context = { windows: 1, seqLen: ROWS, cos: whole, sin: whole };
    mlp.forward(asMatrix(whole), context);
    mlp.forward(rowRange(asMatrix(parts), 0, 64), context);
    mlp.forward(rowRange(asMatrix(parts), 64, ROWS - 64), context);
    const actual = await readReals(engine, whole);
    const expected = await readReals(engine, parts);
    expected.forEach((value, i) => {
      expect(Math.abs(actual[i] - value) <= 1e-4 * Math.max(1, Math.abs(value))).toBe(true);
    });
    expect(Array.from(actual.subarray(0, HIDDEN))).not.toEqual(Array.from(states.subarray(0, HIDDEN)));
    expect(Array.from(actual.subarray(70 * HIDDEN))).not.toEqual(Array.from(states.subarray(70 * HIDDEN)));

    let captured: Float32Array | Float64Array | undefined;
    let pending: Promise<unknown> = Promise.resolve();
    mlp.captureInput(1, asMatrix(parts), context, (input) => {
      expect([input.rows, input.cols]).toEqual([ROWS, INTERMEDIATE]);
      const last = engine.create([1, INTERMEDIATE], 'f32', 'last row');
      engine.copy({ from: rowRange(input, ROWS - 1, 1), to: asMatrix(last) });
      pending = readReals(engine, last).then((values) => {
        captured = values;
        engine.free(last);
      });
    });
    await pending;
    expect(captured?.some((value) => value !== 0)).toBe(true);
    layer.free();
    engine.free(whole, parts);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});
