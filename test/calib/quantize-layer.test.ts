// Plan: quantizeLayer on a toy layer against the same layer in plain float64 with the un-batched oracle: the order is
// truly sequential (later linears see quantized earlier ones), hidden states advance, what is not selected stays,
// interruption and bad numbers leave nothing behind.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantizeLayer } from '../../src/calib/index.js';
import type { QuantizeLayerOptions } from '../../src/calib/index.js';
import { AbortError, NumericError } from '../../src/core/errors.js';
import type { ProgressEvent } from '../../src/core/progress.js';
import type { Engine } from '../../src/engine/engine.js';
import type { HiddenBatch, LinearSlot } from '../../src/model/index.js';
import { readAffineLinear } from '../../src/quant/read-quantized-linear.js';
import type { AffineLinear } from '../../src/core/quantized-linear.js';
import type { QuantSpec } from '../../src/quant/index.js';
import { describeEngines, openOracle } from '../helpers/engines.js';
import { compareCodes } from '../quant/compare-codes.js';
import { DEFAULT_SPEC } from '../quant/problem.js';
import { strictEngine } from '../quant/strict-engine.js';
import { hostLayer } from './host-layer.js';
import { toyHidden, toyLayer, toyWeights } from './toy-layer.js';

const WEIGHTS = [toyWeights(61), toyWeights(62)];
const SPEC: QuantSpec = { ...DEFAULT_SPEC, groupSize: 32 };
const NAMES = ['toy.0.gate', 'toy.0.up', 'toy.0.down', 'toy.1.gate', 'toy.1.up', 'toy.1.down'];

interface Run {
  readonly linears: readonly {
    readonly name: string;
    readonly linear: AffineLinear;
    readonly loss: number;
  }[];
  readonly hidden: readonly HiddenBatch[];
  readonly slots: readonly LinearSlot[];
}

async function run(engine: Engine, more: Partial<QuantizeLayerOptions> = {}): Promise<Run> {
  const layer = toyLayer(engine, WEIGHTS);
  const hidden = toyHidden(engine, 63);
  const table = engine.upload(new Float32Array(4), [1, 4], 'f32', 'rope');
  const linears: Run['linears'][number][] = [];
  try {
    const options = { engine, layer, hidden, rope: { cos: table, sin: table }, select: () => SPEC };
    for await (const { slot, spec, weight, stats } of quantizeLayer({ ...options, ...more })) {
      expect(slot.weight).toBe(weight);
      const linear = await readAffineLinear(engine, weight, spec.groupSize);
      linears.push({ name: slot.name, linear, loss: stats.loss ?? NaN });
    }
    const slots = layer.blocks.flatMap((block) => block.groups.flatMap((group) => group.linears));
    return { linears, hidden, slots };
  } finally {
    layer.free();
    engine.free(table);
  }
}

function joined(hidden: readonly HiddenBatch[]): Float64Array {
  return Float64Array.from(hidden.flatMap(({ states }) => Array.from(states)));
}

describe('quantizeLayer against the oracle · cpu f64', () => {
  it('quantizes in true-sequential order and advances the hidden states', async () => {
    const engine = await openOracle();
    const expected = hostLayer(WEIGHTS, joined(toyHidden(engine, 63)), () => SPEC);
    const { linears, hidden } = await run(strictEngine(engine));
    expect(linears.map(({ name }) => name)).toEqual(NAMES);
    linears.forEach(({ linear, loss }, i) => {
      expect(compareCodes(linear, expected.linears[i].result, 1e-9)).toMatchObject({
        boundaryRows: 0,
        faults: [],
      });
      expect(Math.abs(loss / expected.linears[i].result.loss - 1)).toBeLessThan(1e-9);
    });
    const actual = joined(hidden);
    expect(actual).toHaveLength(expected.hidden.length);
    const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected.hidden[i])), 0);
    expect(worst).toBeLessThan(1e-9);
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});

describeEngines('quantizeLayer', (make) => {
  let raw: Engine;
  let engine: Engine;
  beforeAll(async () => {
    raw = await make();
    engine = strictEngine(raw);
  });
  afterAll(() => raw.dispose());

  it('comes near the oracle on every linear, with some left out', async () => {
    const select = (name: string): QuantSpec | undefined =>
      name === 'toy.0.up' ? undefined : name === 'toy.1.down' ? { ...SPEC, method: 'rtn' } : SPEC;
    const before = raw.memory().tensors;
    const expected = hostLayer(WEIGHTS, joined(toyHidden(engine, 63)), select);
    const { linears, hidden, slots } = await run(engine, { select: (slot) => select(slot.name) });
    expect(linears.map(({ name }) => name)).toEqual(NAMES.filter((name) => name !== 'toy.0.up'));
    expect(slots.map(({ weight }) => weight.kind)).toEqual([
      'affine',
      'dense',
      ...Array<string>(4).fill('affine'),
    ]);
    linears.slice(0, 4).forEach(({ loss }, i) => {
      expect(Math.abs(loss / expected.linears[i].result.loss - 1)).toBeLessThan(0.01);
      expect(loss).toBeLessThan(expected.linears[i].rtnLoss);
    });
    const actual = joined(hidden);
    const error = actual.reduce((sum, value, i) => sum + (value - expected.hidden[i]) ** 2, 0);
    const energy = actual.reduce((sum, value) => sum + value ** 2, 0);
    expect(error / energy).toBeLessThan(1e-4);
    expect(raw.memory().tensors).toBe(before);
  });

  it('does not run the last block when nothing needs it', async () => {
    const all = await run(engine);
    const events: ProgressEvent[] = [];
    const last = await run(engine, { isLast: true, onProgress: (event) => events.push(event) });
    expect(last.linears).toEqual(all.linears);
    expect(joined(last.hidden)).not.toEqual(joined(all.hidden));
    expect(events.filter(({ stage }) => stage === 'calibrate')).toHaveLength(4 * 3);
    expect(events.filter(({ stage }) => stage === 'forward')).toHaveLength(3);
  });

  it('stops between micro-batches when interrupted, leaving nothing behind', async () => {
    const before = raw.memory().tensors;
    const controller = new AbortController();
    const onProgress = ({ stage, done }: ProgressEvent): void => {
      if (stage === 'forward' && done === 1) controller.abort();
    };
    await expect(run(engine, { signal: controller.signal, onProgress })).rejects.toBeInstanceOf(AbortError);
    expect(raw.memory().tensors).toBe(before);
  });

  it('frees its Hessian when the consumer stops early', async () => {
    const before = raw.memory().tensors;
    const layer = toyLayer(engine, WEIGHTS);
    const table = engine.upload(new Float32Array(4), [1, 4], 'f32', 'rope');
    const options = { engine, layer, hidden: toyHidden(engine, 63), rope: { cos: table, sin: table } };
    for await (const { slot } of quantizeLayer({ ...options, select: () => SPEC }))
      if (slot.name === 'toy.0.gate') break;
    layer.free();
    engine.free(table);
    expect(raw.memory().tensors).toBe(before);
  });

  it('names the linears whose inputs are not finite', async () => {
    const before = raw.memory().tensors;
    const hidden = toyHidden(engine, 63);
    hidden[1].states[70] = NaN;
    const error: unknown = await run(engine, { hidden }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(NumericError);
    expect(error).toMatchObject({ layer: 'toy.0.gate, toy.0.up', step: 'hessian' });
    expect(String(error)).toContain('1 of 120 calibration rows');
    expect(raw.memory().tensors).toBe(before);
  });
});
