import { throwIfAborted } from '../core/abort.js';
import type { ProgressEvent, ProgressListener } from '../core/progress.js';
import type { CalibratedLinear } from '../calib/index.js';
import { awqLayer, quantizeLayer } from '../calib/index.js';
import type { ModelItem } from '../export/output-format.js';
import type { ForwardContext, HiddenBatch, LinearSlot, ModelConfig } from '../model/index.js';
import { HEAD_NAME, embedWindows, linearNames, loadDecoderLayer, uploadRope } from '../model/index.js';
import { readQuantizedLinear } from '../quant/index.js';
import type { QuantSpec } from '../quant/index.js';
import type { Engine } from '../engine/engine.js';
import type { LinearJob } from './plan-quantization.js';
import type { ProducerOptions } from './quantize-data-free.js';
import { quantizeHead } from './quantize-head.js';
import { awqParts } from './awq-parts.js';
import type { FinishedLinear, FinishedPart } from './finished-part.js';

export interface CalibratedOptions extends ProducerOptions {
  readonly config: ModelConfig;
  /** Calibration windows of one length. */
  readonly windows: readonly Uint32Array[];
  /** AWQ in place of GPTQ: the model's parts in order, and which dense ones it changes. */
  readonly awq?: { readonly items: readonly ModelItem[]; readonly replaced: ReadonlySet<string> };
  /** Most tokens of a micro-batch. */
  readonly batchTokens?: number;
}

/**
 * GPTQ, layer by layer in true-sequential order; yields each linear as soon as it is quantized and goes on when asked
 * for the next. Engine memory: one layer, one Hessian, one micro-batch. Host memory: hidden states, tokens·D·4 bytes
 * (8 on the float64 engine).
 */
export async function* quantizeCalibrated(
  options: CalibratedOptions,
): AsyncGenerator<FinishedPart, void, undefined> {
  const { engine, config, linears } = options;
  const planned = new Map(linears.map((linear) => [linear.name, linear]));
  const progress = createProgress(options);
  progress.listen({ stage: 'embed', done: 0, total: 1 });
  const hidden = await embedWindows(options);
  const rope = uploadRope(engine, config.rope, options.windows[0].length);
  const run = { options, planned, hidden, rope, listen: progress.listen };
  try {
    for (let index = 0; index < config.numHiddenLayers; index++)
      for await (const finished of quantizeOneLayer(run, index)) {
        if (finished.kind === 'linear') progress.finished(finished);
        yield finished;
      }
    const head = planned.get(HEAD_NAME);
    const spec = affineSpec(head);
    if (head === undefined || spec === undefined) return;
    const finished = await quantizeHead({ ...options, head, spec, hidden, onProgress: progress.listen });
    progress.finished(finished);
    yield finished;
  } finally {
    engine.free(rope.cos, rope.sin);
  }
}

interface Run {
  readonly options: CalibratedOptions;
  readonly planned: ReadonlyMap<string, LinearJob>;
  readonly hidden: readonly HiddenBatch[];
  readonly rope: Pick<ForwardContext, 'cos' | 'sin'>;
  readonly listen: ProgressListener;
}

async function* quantizeOneLayer(run: Run, index: number): AsyncGenerator<FinishedPart, void, undefined> {
  const { options, planned, hidden, rope } = run;
  const { engine, config, source, signal } = options;
  throwIfAborted(signal);
  const isLast = index + 1 === config.numHiddenLayers && !planned.has(HEAD_NAME);
  // A skipped layer only passes the hidden states on.
  if (isLast && !linearNames(index).some((name) => planned.has(name))) return;
  const layer = await loadDecoderLayer({ engine, config, source, index });
  try {
    const job = {
      engine,
      layer,
      hidden,
      rope,
      select: (slot: LinearSlot) => affineSpec(planned.get(slot.name)),
      isLast,
      signal,
      onProgress: run.listen,
    };
    if (options.awq === undefined)
      for await (const result of quantizeLayer(job)) yield await toHost(engine, result);
    else {
      const finished: FinishedLinear[] = [];
      for await (const result of awqLayer(job)) finished.push(await toHost(engine, result));
      yield* awqParts(engine, { ...options.awq, layer, linears: finished });
    }
  } finally {
    layer.free();
  }
}

/** How a linear is to be quantized; undefined for one that is left alone. */
function affineSpec(job: LinearJob | undefined): QuantSpec | undefined {
  return job !== undefined && 'rule' in job.spec ? job.spec : undefined;
}

async function toHost(
  engine: Engine,
  { slot, spec, weight, stats, method }: CalibratedLinear,
): Promise<FinishedLinear> {
  const linear = await readQuantizedLinear(engine, weight, spec);
  return { kind: 'linear', name: slot.name, method, linear, stats };
}

/** One stage "quantize" counted in linears, so that time left can be told; what happens inside is its item. */
function createProgress({ linears, onProgress }: CalibratedOptions): {
  readonly listen: ProgressListener;
  readonly finished: (linear: FinishedLinear) => void;
} {
  let done = 0;
  let figures: Record<string, number | string> = {};
  const total = linears.length;
  return {
    listen: (event: ProgressEvent) => {
      const batches = event.total > 1 ? ` ${event.done + 1}/${event.total}` : '';
      const item = `${event.stage}${batches} ${event.item ?? ''}`.trim();
      onProgress?.({ stage: 'quantize', item, done, total, figures });
    },
    finished: ({ name, stats }) => {
      done += 1;
      figures = stats.loss === undefined ? {} : { loss: stats.loss };
      onProgress?.({ stage: 'quantize', item: name, done, total, figures });
    },
  };
}
