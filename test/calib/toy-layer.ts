import { createRng } from '../../src/core/rng.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import type { MatrixView, Tensor } from '../../src/engine/tensor.js';
import { freeLinearWeight } from '../../src/model/index.js';
import type { Block, DecoderLayer, HiddenBatch, LinearSlot } from '../../src/model/index.js';

export const HIDDEN = 64;
export const INNER = 96;

/** f32 weights [N, K] of a gated block, for the engine and for the host's own arithmetic. */
export interface ToyWeights {
  readonly gate: Float32Array;
  readonly up: Float32Array;
  readonly down: Float32Array;
}

export function toyWeights(seed: number): ToyWeights {
  const rng = createRng(seed);
  const matrix = (rows: number, cols: number): Float32Array =>
    Float32Array.from({ length: rows * cols }, () => rng.normal() / Math.sqrt(cols));
  return { gate: matrix(INNER, HIDDEN), up: matrix(INNER, HIDDEN), down: matrix(HIDDEN, INNER) };
}

/** Two gated blocks, x ← x + down(silu(gate(x))·up(x)), without norms: two groups of linears each. */
export function toyLayer(engine: Engine, weights: readonly ToyWeights[]): DecoderLayer {
  const slots: LinearSlot[] = [];
  const slot = (name: string, data: Float32Array, outFeatures: number): LinearSlot => {
    const inFeatures = data.length / outFeatures;
    const tensor = engine.upload(data, [outFeatures, inFeatures], 'f32', name);
    const made: LinearSlot = { name, outFeatures, inFeatures, weight: { kind: 'dense', tensor } };
    slots.push(made);
    return made;
  };
  const blocks = weights.map((part, index) =>
    toyBlock(engine, {
      gate: slot(`toy.${index}.gate`, part.gate, INNER),
      up: slot(`toy.${index}.up`, part.up, INNER),
      down: slot(`toy.${index}.down`, part.down, HIDDEN),
    }),
  );
  return {
    index: 0,
    blocks,
    free: () => {
      for (const { weight } of slots) freeLinearWeight(engine, weight);
    },
  };
}

function toyBlock(engine: Engine, linears: Record<'gate' | 'up' | 'down', LinearSlot>): Block {
  const { gate, up, down } = linears;
  const gated = (x: MatrixView): Tensor => {
    const a = engine.create([x.rows, INNER], 'f32', 'toy gate');
    const b = engine.create([x.rows, INNER], 'f32', 'toy up');
    engine.linear({ x, weight: gate.weight, out: asMatrix(a) });
    engine.linear({ x, weight: up.weight, out: asMatrix(b) });
    engine.siluMul({ gate: asMatrix(a), up: asMatrix(b), out: asMatrix(a) });
    engine.free(b);
    return a;
  };
  return {
    groups: [{ linears: [gate, up] }, { linears: [down] }],
    captureInput(index, x, _context, use) {
      if (index === 0) {
        use(x);
        return;
      }
      const inner = gated(x);
      use(asMatrix(inner));
      engine.free(inner);
    },
    forward(x) {
      const inner = gated(x);
      const out = engine.create([x.rows, HIDDEN], 'f32', 'toy out');
      engine.linear({ x: asMatrix(inner), weight: down.weight, out: asMatrix(out) });
      engine.addTo({ x, y: asMatrix(out) });
      engine.free(inner, out);
    },
  };
}

/** Micro-batches of unequal size, hidden states in the engine's precision. */
export function toyHidden(engine: Engine, seed: number): HiddenBatch[] {
  const rng = createRng(seed);
  const scale = Float64Array.from({ length: HIDDEN }, () => Math.exp(0.5 * rng.normal()));
  return [3, 2, 1].map((windows, i) => {
    const seqLen = 20;
    const values = Float32Array.from(
      { length: windows * seqLen * HIDDEN },
      (_, k) => rng.normal() * scale[k % HIDDEN],
    );
    return {
      batch: { firstWindow: i, windows, seqLen, tokens: new Uint32Array(windows * seqLen) },
      states: engine.info.precision === 'f64' ? Float64Array.from(values) : values,
    };
  });
}
