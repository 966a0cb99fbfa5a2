import { describe, expect, it } from 'vitest';
import { f32ToBf16, f32ToF16 } from '../../src/core/dtype.js';
import { NumericError } from '../../src/core/errors.js';
import type { DType } from '../../src/core/dtype.js';
import type { Bits, GridRule } from '../../src/core/quantized-linear.js';
import { createRng } from '../../src/core/rng.js';
import type { Engine } from '../../src/engine/engine.js';
import type { Checkpoint } from '../../src/formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import { bytesOf } from '../../src/io/byte-views.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import type { FinishedLinear } from '../../src/pipeline/finished-part.js';
import type { CodebookSpec, LinearJob } from '../../src/pipeline/plan-quantization.js';
import { quantizeDataFree } from '../../src/pipeline/quantize-data-free.js';
import { canStream, streamDataFree } from '../../src/pipeline/stream-data-free.js';
import { createWeightSource } from '../../src/pipeline/weight-source.js';
import type { QuantSpec } from '../../src/quant/records.js';
import { describeEngines } from '../helpers/engines.js';

// Plan: streaming gives the records of the linear-by-linear way for every rule, dtype and cut into panels; a weight that is
// not finite is named; a consumer that stops early leaves nothing on the engine.
const SHAPES: Readonly<Record<string, readonly [number, number]>> = {
  a: [37, 64],
  b: [5, 192],
  c: [64, 96],
};

function bytesFor(dtype: DType, values: Float32Array): Uint8Array {
  switch (dtype) {
    case 'BF16':
      return bytesOf(Uint16Array.from(values, f32ToBf16));
    case 'F16':
      return bytesOf(Uint16Array.from(values, f32ToF16));
    case 'F64':
      return bytesOf(Float64Array.from(values));
    default:
      return bytesOf(values);
  }
}

async function checkpointOf(dtype: DType, spoil?: { name: string; at: number }): Promise<Checkpoint> {
  const tensors = Object.entries(SHAPES).map(([name, shape]) => ({ name: `${name}.weight`, dtype, shape }));
  const folder = createMemoryFolder('weights');
  const rng = createRng(11);
  await writeShards(planShards(tensors), folder, (name) => {
    const [rows, cols] = SHAPES[name[0]];
    const values = Float32Array.from({ length: rows * cols }, () => rng.normal() * 0.03);
    if (spoil?.name === name[0]) values[spoil.at] = Infinity;
    return Promise.resolve(bytesFor(dtype, values));
  });
  await folder.commit();
  return openCheckpoint(folder.files);
}

function jobs(dtype: DType, spec: QuantSpec | CodebookSpec): LinearJob[] {
  return Object.entries(SHAPES).map(([name, [outFeatures, inFeatures]]) => ({
    name,
    outFeatures,
    inFeatures,
    sourceDType: dtype,
    grid: { kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: true },
    spec,
  }));
}

function rtn(rule: GridRule, bits: Bits, groupSize: number, minZero: 0 | 1 = 0): QuantSpec {
  return {
    method: 'rtn',
    rule,
    bits,
    groupSize,
    order: 'natural',
    staticGroups: false,
    damp: 0.01,
    range: 'minmax',
    refine: 0,
    minZero,
  };
}

async function collect(parts: AsyncGenerator<FinishedLinear, void, undefined>): Promise<FinishedLinear[]> {
  const all: FinishedLinear[] = [];
  for await (const part of parts) all.push(part);
  return all;
}

const SPECS: readonly (readonly [DType, QuantSpec])[] = [
  ['BF16', rtn('symmetric', 4, 32)],
  ['BF16', rtn('signed', 4, 32)],
  ['F16', rtn('asymmetric', 3, 32, 1)],
  ['F32', rtn('min', 4, 32)],
  ['F64', rtn('signed', 8, 16)],
  ['BF16', rtn('asymmetric', 2, -1)],
  ['BF16', rtn('signed', 5, 32)],
];

describeEngines('streamDataFree', (make) => {
  const withEngine = async (body: (engine: Engine) => Promise<void>): Promise<void> => {
    const engine = await make();
    try {
      await body(engine);
      expect(engine.memory().tensors).toBe(0);
    } finally {
      await engine.dispose();
    }
  };

  it.each(SPECS)('%s weights, %o', (dtype, spec) =>
    withEngine(async (engine) => {
      const checkpoint = await checkpointOf(dtype);
      const linears = jobs(dtype, spec);
      const source = createWeightSource({ checkpoint, engine });
      const wanted = await collect(quantizeDataFree({ engine, source, linears }));
      for (const panelElems of [undefined, 400]) {
        const found = await collect(
          streamDataFree({ engine, checkpoint, linears, ...(panelElems && { panelElems }) }),
        );
        expect(found.map(({ name, linear, stats }) => ({ name, linear, stats }))).toEqual(
          wanted.map(({ name, linear, stats }) => ({ name, linear, stats })),
        );
      }
    }),
  );

  it('codebooks do not depend on the panels', () =>
    withEngine(async (engine) => {
      const checkpoint = await checkpointOf('BF16');
      const linears = jobs('BF16', { method: 'nf4', blockSize: 64, doubleQuant: true });
      const [whole, cut] = [
        await collect(streamDataFree({ engine, checkpoint, linears })),
        await collect(streamDataFree({ engine, checkpoint, linears, panelElems: 640 })),
      ];
      expect(cut).toEqual(whole);
      expect(whole.map(({ method }) => method)).toEqual(['nf4', 'nf4', 'nf4']);
    }));

  it('names the first weight that is not finite', () =>
    withEngine(async (engine) => {
      const checkpoint = await checkpointOf('BF16', { name: 'b', at: 777 });
      const linears = jobs('BF16', rtn('symmetric', 4, 32));
      const run = collect(streamDataFree({ engine, checkpoint, linears, panelElems: 400 }));
      await expect(run).rejects.toThrow(NumericError);
      await expect(run).rejects.toThrow(/b\.weight.*777/s);
    }));

  it('frees everything when the consumer stops early', () =>
    withEngine(async (engine) => {
      const checkpoint = await checkpointOf('BF16');
      const parts = streamDataFree({ engine, checkpoint, linears: jobs('BF16', rtn('symmetric', 4, 32)) });
      expect((await parts.next()).done).toBe(false);
      await parts.return();
    }));
});

describe('canStream', () => {
  it('says no to grids that need more than a pass', () => {
    const [job] = jobs('BF16', rtn('symmetric', 4, 32));
    expect(canStream(job)).toBe(true);
    for (const spec of [
      { ...rtn('symmetric', 4, 32), range: 'mse' as const },
      { ...rtn('symmetric', 4, 32), method: 'gptq' as const },
      rtn('q4_k', 4, 32),
    ])
      expect(canStream({ ...job, spec })).toBe(false);
  });
});
