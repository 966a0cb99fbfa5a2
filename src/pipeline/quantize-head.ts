import { throwIfAborted } from '../core/abort.js';
import type { ProgressListener } from '../core/progress.js';
import { asMatrix } from '../engine/tensor.js';
import type { PlannedLinear } from '../export/output-format.js';
import type { HiddenBatch, ModelConfig } from '../model/index.js';
import { freeLinearWeight } from '../model/index.js';
import type { Hessian, QuantSpec } from '../quant/index.js';
import {
  accumulateHessian,
  createHessian,
  finishHessian,
  freeHessian,
  freeHessianSum,
  quantizeLinear,
  readQuantizedLinear,
} from '../quant/index.js';
import type { ProducerOptions } from './quantize-data-free.js';
import type { FinishedLinear } from './finished-part.js';

export interface QuantizeHeadOptions extends Omit<ProducerOptions, 'linears'> {
  readonly config: ModelConfig;
  readonly head: PlannedLinear;
  readonly spec: QuantSpec;
  /** Outputs of the last decoder layer. */
  readonly hidden: readonly HiddenBatch[];
  readonly onProgress?: ProgressListener | undefined;
}

/** GPTQ of a separate language-model head; its inputs are the normed outputs of the last layer. */
export async function quantizeHead(options: QuantizeHeadOptions): Promise<FinishedLinear> {
  const { engine, source, head, spec } = options;
  const { name, outFeatures, inFeatures } = head;
  const hessian = await gatherHeadHessian(options);
  try {
    const weight = await source.linear(name, outFeatures, inFeatures);
    try {
      const result = await quantizeLinear(engine, { name, weight, outFeatures, inFeatures, spec, hessian });
      try {
        const linear = await readQuantizedLinear(engine, result.weight, spec);
        return { kind: 'linear', name, method: result.method, linear, stats: result.stats };
      } finally {
        freeLinearWeight(engine, result.weight);
      }
    } finally {
      freeLinearWeight(engine, weight);
    }
  } finally {
    freeHessian(engine, hessian);
  }
}

async function gatherHeadHessian(options: QuantizeHeadOptions): Promise<Hessian> {
  const { engine, source, config, head, hidden, signal, onProgress } = options;
  const norm = await source.dense('model.norm.weight', [config.hiddenSize]);
  const sum = createHessian(engine, head.inFeatures, head.name);
  try {
    for (const [done, { states, batch }] of hidden.entries()) {
      throwIfAborted(signal);
      onProgress?.({ stage: 'calibrate', item: head.name, done, total: hidden.length });
      const x = engine.upload(states, [batch.tokens.length, config.hiddenSize], 'f32', 'hidden states');
      const normed = engine.create([batch.tokens.length, config.hiddenSize], 'f32', 'final norm');
      engine.rmsNorm({ x: asMatrix(x), weight: norm, eps: config.rmsNormEps, out: asMatrix(normed) });
      accumulateHessian(engine, sum, asMatrix(normed));
      engine.free(x, normed);
      await engine.sync();
    }
  } catch (error) {
    freeHessianSum(engine, sum);
    throw error;
  } finally {
    engine.free(norm);
  }
  return finishHessian(engine, sum, head.name);
}
