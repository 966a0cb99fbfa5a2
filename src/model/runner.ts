import { throwIfAborted } from '../core/abort.js';
import { NumericError } from '../core/errors.js';
import type { ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import { readReals } from '../engine/engine.js';
import { asMatrix } from '../engine/tensor.js';
import { loadDecoderLayer } from './decoder-layer.js';
import { loadEmbedding } from './embedding.js';
import type { MicroBatch } from './micro-batches.js';
import { planMicroBatches } from './micro-batches.js';
import { uploadRope } from './rope.js';
import type { DecoderLayer, ForwardContext, ModelConfig, WeightSource } from './types.js';

/** A model as the layer-streaming code sees it. */
export interface StreamedModel {
  readonly config: ModelConfig;
  readonly source: WeightSource;
}

/** Hidden states [rows, D] of one micro-batch in host memory, in the engine's precision. */
export interface HiddenBatch {
  readonly batch: MicroBatch;
  /** Replaced after each layer. */
  states: Float32Array | Float64Array;
}

export interface RunLayersOptions extends StreamedModel {
  readonly engine: Engine;
  /** Token windows of one length. */
  readonly windows: readonly Uint32Array[];
  /** Most tokens of a micro-batch; default 2048, at least one window. */
  readonly batchTokens?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** Name of the stage in progress events; default "forward". */
  readonly stage?: string;
}

/**
 * Final hidden states (before the last norm) of all windows. The model passes through the engine layer by layer, so
 * engine memory is one layer and one micro-batch, or the embedding table and one micro-batch; host memory is the hidden
 * states, tokens·D·4 bytes (8 on the float64 engine).
 *
 * Errors: the source's; AbortError; NumericError naming the layer after which a value is not finite.
 */
export async function runLayers(options: RunLayersOptions): Promise<HiddenBatch[]> {
  const { engine, config, source, signal, onProgress, stage = 'forward' } = options;
  const total = config.numHiddenLayers;
  const hidden = await embedWindows(options);
  if (hidden.length === 0) return hidden;
  const rope = uploadRope(engine, config.rope, hidden[0].batch.seqLen);
  try {
    for (let index = 0; index < total; index++) {
      throwIfAborted(signal);
      onProgress?.({ stage, item: `layer ${index}`, done: index, total });
      const layer = await loadDecoderLayer({ engine, config, source, index });
      try {
        await advanceHidden({ engine, layer, hidden, rope, signal });
      } finally {
        layer.free();
      }
    }
    onProgress?.({ stage, done: total, total });
  } finally {
    engine.free(rope.cos, rope.sin);
  }
  return hidden;
}

/** Embeds all windows in micro-batches; the table is on the engine only during the call. */
export async function embedWindows(
  options: Pick<RunLayersOptions, 'engine' | 'config' | 'source' | 'windows' | 'batchTokens' | 'signal'>,
): Promise<HiddenBatch[]> {
  const { engine, signal } = options;
  const batches = planMicroBatches(options.windows, options.batchTokens);
  const table = await loadEmbedding(options);
  const hidden: HiddenBatch[] = [];
  try {
    for (const batch of batches) {
      throwIfAborted(signal);
      const embedded = table.embed(batch.tokens);
      try {
        hidden.push({ batch, states: await readReals(engine, embedded) });
      } finally {
        engine.free(embedded);
      }
    }
  } finally {
    table.free();
  }
  return hidden;
}

/** The facts a layer needs about a micro-batch; `rope` holds tables of at least seqLen positions. */
export function forwardContext(batch: MicroBatch, rope: Pick<ForwardContext, 'cos' | 'sin'>): ForwardContext {
  return { windows: batch.windows, seqLen: batch.seqLen, cos: rope.cos, sin: rope.sin };
}

/** Sends every micro-batch through one loaded layer and puts the results back in its place. */
export async function advanceHidden(options: {
  readonly engine: Engine;
  readonly layer: DecoderLayer;
  readonly hidden: readonly HiddenBatch[];
  readonly rope: Pick<ForwardContext, 'cos' | 'sin'>;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  const { engine, layer, hidden, rope, signal } = options;
  for (const entry of hidden) {
    throwIfAborted(signal);
    const rows = entry.batch.tokens.length;
    const x = engine.upload(entry.states, [rows, entry.states.length / rows], 'f32', 'hidden states');
    try {
      for (const block of layer.blocks) block.forward(asMatrix(x), forwardContext(entry.batch, rope));
      entry.states = await readReals(engine, x);
    } finally {
      engine.free(x);
    }
    checkFinite(entry.states, layer.index);
  }
}

function checkFinite(states: Float32Array | Float64Array, layer: number): void {
  let index = 0;
  while (index < states.length && Number.isFinite(states[index])) index++;
  if (index === states.length) return;
  throw new NumericError(`hidden state is ${states[index]}, a finite number expected`, {
    layer: `model.layers.${layer}`,
    step: 'forward',
    index,
    advice: 'the checkpoint is damaged, or its values overflow float32: check it with `halfbyte inspect`',
  });
}
