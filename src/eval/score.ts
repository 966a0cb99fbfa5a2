import { throwIfAborted } from '../core/abort.js';
import { NumericError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { readReals } from '../engine/engine.js';
import { asMatrix } from '../engine/tensor.js';
import type { Tensor } from '../engine/tensor.js';
import type { Head, HiddenBatch } from '../model/index.js';

/** One model at the end of its layers. */
export interface Scorer {
  readonly head: Head;
  readonly hidden: readonly HiddenBatch[];
}

export interface ScoreOptions {
  readonly engine: Engine;
  readonly model: Scorer;
  /** Hidden states of the same windows in the same micro-batches. */
  readonly reference?: Scorer | undefined;
  /** Rows of logits per chunk. */
  readonly rowsPerChunk: number;
  readonly signal?: AbortSignal | undefined;
}

/** What one chunk of consecutive tokens gave; arrays [n] in the engine's precision, stats [n, 4] as tokenDivergence has it. */
export interface ScoredChunk {
  readonly losses: Float32Array | Float64Array;
  readonly reference?: {
    readonly losses: Float32Array | Float64Array;
    readonly stats: Float32Array | Float64Array;
  };
}

/**
 * Scores every token but the first of each window, chunk by chunk in order. Logits live only inside a chunk: engine memory
 * is rowsPerChunk·V·4 bytes for each model, beside the heads. NumericError names window and token of a figure that is not
 * finite.
 */
export async function* scoreTokens(options: ScoreOptions): AsyncGenerator<ScoredChunk, void, undefined> {
  const { model, rowsPerChunk } = options;
  for (let b = 0; b < model.hidden.length; b++) {
    const { batch } = model.hidden[b];
    for (let window = 0; window < batch.windows; window++) {
      const begin = window * batch.seqLen;
      const end = begin + batch.seqLen - 1;
      for (let row = begin; row < end; row += rowsPerChunk) {
        throwIfAborted(options.signal);
        const range = { batch: b, row, rows: Math.min(rowsPerChunk, end - row) };
        const chunk = await scoreRows(options, range);
        checkFinite(chunk, batch.firstWindow + window, row - begin);
        yield chunk;
      }
    }
  }
}

interface RowRange {
  readonly batch: number;
  /** First row inside the micro-batch. */
  readonly row: number;
  readonly rows: number;
}

async function scoreRows(options: ScoreOptions, range: RowRange): Promise<ScoredChunk> {
  const { engine, model, reference } = options;
  const { tokens } = model.hidden[range.batch].batch;
  const owned: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    owned.push(tensor);
    return tensor;
  };
  try {
    const next = tokens.slice(range.row + 1, range.row + 1 + range.rows);
    const targets = own(engine.upload(next, [range.rows], 'u32', 'targets'));
    const lossesOf = (logits: Tensor): Tensor => {
      const losses = own(engine.create([range.rows], 'f32', 'token losses'));
      engine.tokenLoss({ logits: asMatrix(logits), targets, losses });
      return losses;
    };
    const logits = own(computeLogits(engine, model, range));
    const losses = lossesOf(logits);
    if (reference === undefined) return { losses: await readReals(engine, losses) };

    const referenceLogits = own(computeLogits(engine, reference, range));
    const referenceLosses = lossesOf(referenceLogits);
    const stats = own(engine.create([range.rows, 4], 'f32', 'token divergences'));
    const pair = { reference: asMatrix(referenceLogits), logits: asMatrix(logits) };
    engine.tokenDivergence({ ...pair, targets, stats });
    return {
      losses: await readReals(engine, losses),
      reference: {
        losses: await readReals(engine, referenceLosses),
        stats: await readReals(engine, stats),
      },
    };
  } finally {
    engine.free(...owned);
  }
}

function computeLogits(engine: Engine, scorer: Scorer, { batch, row, rows }: RowRange): Tensor {
  const { states, batch: facts } = scorer.hidden[batch];
  const width = states.length / facts.tokens.length;
  const part = states.subarray(row * width, (row + rows) * width);
  const hidden = engine.upload(part, [rows, width], 'f32', 'final hidden states');
  const logits = scorer.head.logits(asMatrix(hidden));
  engine.free(hidden);
  return logits;
}

function checkFinite(chunk: ScoredChunk, window: number, firstRow: number): void {
  for (const values of [chunk.losses, chunk.reference?.losses ?? [], chunk.reference?.stats ?? []]) {
    const perRow = values.length / chunk.losses.length;
    for (let i = 0; i < values.length; i++) {
      if (Number.isFinite(values[i])) continue;
      throw new NumericError(
        `${values[i]} where a loss or divergence is expected, window ${window}, token ${firstRow + Math.floor(i / perRow) + 1}`,
        {
          layer: 'lm_head',
          step: 'evaluate',
          advice: 'the model gives logits that are not finite: check its weights',
        },
      );
    }
  }
}
