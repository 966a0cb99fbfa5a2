import { throwIfAborted } from '../core/abort.js';
import { Bug } from '../core/errors.js';
import type { ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { freeLinearWeight } from '../model/index.js';
import type { WeightSource } from '../model/types.js';
import { quantizeCodebookLinear, quantizeLinear, readQuantizedLinear } from '../quant/index.js';
import type { FinishedLinear } from './finished-part.js';
import type { CodebookSpec, LinearJob } from './plan-quantization.js';

export interface ProducerOptions {
  readonly engine: Engine;
  readonly source: WeightSource;
  readonly linears: readonly LinearJob[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** Methods that look at nothing but the weights, linear by linear. Engine memory: one linear and its result. */
export async function* quantizeDataFree(
  options: ProducerOptions,
): AsyncGenerator<FinishedLinear, void, undefined> {
  const { engine, source, linears, signal, onProgress } = options;
  for (const [done, job] of linears.entries()) {
    throwIfAborted(signal);
    onProgress?.({ stage: 'quantize', item: job.name, done, total: linears.length });
    const weight = await source.linear(job.name, job.outFeatures, job.inFeatures);
    try {
      yield await quantizeOne(engine, job, weight);
    } finally {
      freeLinearWeight(engine, weight);
    }
  }
  onProgress?.({ stage: 'quantize', done: linears.length, total: linears.length });
}

async function quantizeOne(engine: Engine, job: LinearJob, weight: LinearWeight): Promise<FinishedLinear> {
  const { name, outFeatures, inFeatures, spec } = job;
  if (!('rule' in spec)) return quantizeOnCodebook(engine, job, spec, weight);
  const result = await quantizeLinear(engine, { name, weight, outFeatures, inFeatures, spec });
  try {
    const linear = await readQuantizedLinear(engine, result.weight, spec);
    return { kind: 'linear', name, method: result.method, linear, stats: result.stats };
  } finally {
    freeLinearWeight(engine, result.weight);
  }
}

async function quantizeOnCodebook(
  engine: Engine,
  { name, outFeatures, inFeatures }: LinearJob,
  { method, blockSize, doubleQuant }: CodebookSpec,
  weight: LinearWeight,
): Promise<FinishedLinear> {
  if (weight.kind !== 'dense') throw new Bug(`internal: ${name} is quantized already`);
  const shape = { outFeatures, inFeatures };
  const options = { name, weight: weight.tensor, ...shape, codebook: method, blockSize, doubleQuant };
  const linear = await quantizeCodebookLinear(engine, options);
  const groups = Math.ceil((outFeatures * inFeatures) / blockSize);
  return { kind: 'linear', name, method, linear, stats: { refined: 0, groups } };
}
