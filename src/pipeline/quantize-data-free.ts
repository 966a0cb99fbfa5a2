import { throwIfAborted } from '../core/abort.js';
import type { ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import type { PlannedLinear } from '../export/output-plan.js';
import { freeLinearWeight } from '../model/index.js';
import type { WeightSource } from '../model/types.js';
import { quantizeLinear, readQuantizedLinear } from '../quant/index.js';
import type { QuantSpec } from '../quant/records.js';
import type { FinishedLinear } from './quantized-linears.js';

export interface DataFreeOptions {
  readonly engine: Engine;
  readonly source: WeightSource;
  readonly linears: readonly PlannedLinear[];
  readonly spec: QuantSpec;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** Round to nearest, linear by linear, no forward pass. Engine memory: one linear and its result. */
export async function* quantizeDataFree(
  options: DataFreeOptions,
): AsyncGenerator<FinishedLinear, void, undefined> {
  const { engine, source, linears, spec, signal, onProgress } = options;
  for (const [done, { name, outFeatures, inFeatures }] of linears.entries()) {
    throwIfAborted(signal);
    onProgress?.({ stage: 'quantize', item: name, done, total: linears.length });
    const weight = await source.linear(name, outFeatures, inFeatures);
    try {
      const result = await quantizeLinear(engine, { name, weight, outFeatures, inFeatures, spec });
      try {
        const linear = await readQuantizedLinear(engine, result.weight, spec);
        yield { name, method: result.method, linear, stats: result.stats };
      } finally {
        freeLinearWeight(engine, result.weight);
      }
    } finally {
      freeLinearWeight(engine, weight);
    }
  }
  onProgress?.({ stage: 'quantize', done: linears.length, total: linears.length });
}
