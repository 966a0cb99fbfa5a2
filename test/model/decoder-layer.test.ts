/**
 * Plan: captureInput gives the inputs that the block's own forward uses (recomputed here from the captured tensors), leaves
 * x alone and leaks nothing; a row's result does not depend on how the MLP is cut into chunks.
 */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import type { Engine } from '../../src/engine/engine.js';
import { readReals } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import type { MatrixView, Tensor } from '../../src/engine/tensor.js';
import type { Block, DecoderLayer, ForwardContext, LinearSlot } from '../../src/model/index.js';
import { linearNames, loadDecoderLayer, uploadRope } from '../../src/model/index.js';
import { createMapSource, readTiny } from '../helpers/checkpoint-source.js';
import type { TinyModel } from '../helpers/checkpoint-source.js';
import { describeEngines } from '../helpers/engines.js';

interface Setup {
  readonly engine: Engine;
  readonly tiny: TinyModel;
  readonly layer: DecoderLayer;
  readonly context: ForwardContext;
  readonly states: Float32Array;
  upload(): Tensor;
}

const WINDOWS = 3;
const SEQ_LEN = 37;

async function setup(make: () => Promise<Engine>, name: string): Promise<Setup> {
  const engine = await make();
  const tiny = readTiny(name);
  const source = createMapSource(engine, tiny.tensors);
  const layer = await loadDecoderLayer({ engine, config: tiny.config, source, index: 1 });
  const rng = createRng(7);
  const states = Float32Array.from({ length: WINDOWS * SEQ_LEN * tiny.config.hiddenSize }, () =>
    rng.normal(),
  );
  const rope = uploadRope(engine, tiny.config.rope, SEQ_LEN + 2);
  return {
    engine,
    tiny,
    layer,
    states,
    context: { windows: WINDOWS, seqLen: SEQ_LEN, ...rope },
    upload: () => engine.upload(states, [WINDOWS * SEQ_LEN, tiny.config.hiddenSize], 'f32', 'x'),
  };
}

/** Copies a captured input out, since it lives only during `use`. */
async function capture(s: Setup, block: Block, group: number): Promise<Tensor> {
  const x = s.upload();
  const kept: Tensor[] = [];
  block.captureInput(group, asMatrix(x), s.context, (input) => {
    const copy = s.engine.create([input.rows, input.cols], 'f32', 'captured');
    s.engine.copy({ from: input, to: asMatrix(copy) });
    kept.push(copy);
  });
  expect(kept.length).toBe(1);
  expect(Array.from(await readReals(s.engine, x))).toEqual(Array.from(s.states));
  s.engine.free(x);
  return kept[0];
}

function run(engine: Engine, slot: LinearSlot, x: MatrixView): Tensor {
  const out = engine.create([x.rows, slot.outFeatures], 'f32', slot.name);
  engine.linear({
    x,
    weight: slot.weight,
    out: asMatrix(out),
    ...(slot.bias === undefined ? {} : { bias: slot.bias }),
  });
  return out;
}

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  let error = 0;
  let power = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    power += expected[i] ** 2;
  }
  // f32 sums of at most 64 products: measured below 1e-13.
  expect(error / power <= 1e-11).toBe(true);
}

describe('linear names', () => {
  it('are those of the checkpoint, in quantization order', () => {
    expect(linearNames(4)).toEqual([
      'model.layers.4.self_attn.q_proj',
      'model.layers.4.self_attn.k_proj',
      'model.layers.4.self_attn.v_proj',
      'model.layers.4.self_attn.o_proj',
      'model.layers.4.mlp.gate_proj',
      'model.layers.4.mlp.up_proj',
      'model.layers.4.mlp.down_proj',
    ]);
  });
});

describeEngines('captured inputs', (make) => {
  it.each(['llama', 'mistral', 'qwen2', 'qwen3'])('of %s are those that forward uses', async (name) => {
    const s = await setup(make, name);
    const { engine, layer } = s;
    const slots = layer.blocks.flatMap((block) => block.groups.flatMap((group) => group.linears));
    expect(slots.map((slot) => slot.name)).toEqual(linearNames(1));
    const before = engine.memory().tensors;
    for (const block of layer.blocks) {
      const [last] = block.groups[1].linears;
      const input = await capture(s, block, 1);
      const added = run(engine, last, asMatrix(input));
      const x = s.upload();
      engine.addTo({ x: asMatrix(x), y: asMatrix(added) });
      const forwarded = s.upload();
      block.forward(asMatrix(forwarded), s.context);
      expectNear(await readReals(engine, forwarded), await readReals(engine, x));
      engine.free(input, added, x, forwarded);
    }
    const mlp = layer.blocks[1];
    const [gate, up] = mlp.groups[0].linears;
    const normed = await capture(s, mlp, 0);
    const gated = run(engine, gate, asMatrix(normed));
    const upped = run(engine, up, asMatrix(normed));
    engine.siluMul({ gate: asMatrix(gated), up: asMatrix(upped), out: asMatrix(gated) });
    const captured = await capture(s, mlp, 1);
    expectNear(await readReals(engine, captured), await readReals(engine, gated));
    engine.free(normed, gated, upped, captured);
    expect(engine.memory().tensors).toBe(before);
    layer.free();
    engine.free(s.context.cos, s.context.sin);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });

  it('refuse a group that is not there', async () => {
    const s = await setup(make, 'llama');
    const x = s.upload();
    for (const block of s.layer.blocks)
      expect(() => block.captureInput(2, asMatrix(x), s.context, () => undefined)).toThrow(/groups 0 and 1/);
    await s.engine.dispose();
  });
});
