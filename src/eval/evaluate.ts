import { UserError } from '../core/errors.js';
import type { ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import type { Head, HiddenBatch, StreamedModel } from '../model/index.js';
import { loadHead, logitRows, runLayers } from '../model/index.js';
import type { Evaluation, EvaluationProtocol } from './protocol.js';
import type { ScoredChunk } from './score.js';
import { scoreTokens } from './score.js';
import type { TokenComparisons } from './summarize.js';
import { compareToReference, perplexityOf } from './summarize.js';

export interface EvaluateOptions {
  readonly engine: Engine;
  readonly model: StreamedModel;
  /** The model to compare with, over the same vocabulary. */
  readonly reference?: StreamedModel | undefined;
  /** Windows of one length, at least 2 tokens each. */
  readonly windows: readonly Uint32Array[];
  /** Name and hash of the text, for the protocol. */
  readonly text: { readonly name: string; readonly sha256: string };
  readonly batchTokens?: number | undefined;
  /** Bound on one model's logits at a time; default 64 MiB. */
  readonly logitBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/**
 * Perplexity over consecutive non-overlapping windows, first token of each not scored, and, with a reference, the
 * divergence of the two models' full distributions. Both models stream through the engine layer by layer; logits exist one
 * chunk at a time and are never stored.
 *
 * Memory: host tokens·D·4 bytes of hidden states per model (8 on the float64 engine) and some 40 bytes per token; engine
 * one layer and one micro-batch, then both heads and a chunk of logits for each model.
 * Errors: UserError for windows too short or vocabularies that differ; NumericError; what the sources throw.
 */
export async function evaluateModel(options: EvaluateOptions): Promise<Evaluation> {
  const { engine, model, reference, windows } = options;
  checkOptions(options);
  const heads: Head[] = [];
  try {
    const hidden = await finalStates(options, model, 'evaluate');
    const referenceHidden =
      reference === undefined ? undefined : await finalStates(options, reference, 'evaluate reference');
    const loadOwned = async (owner: StreamedModel): Promise<Head> => {
      const head = await loadHead({ engine, ...owner });
      heads.push(head);
      return head;
    };
    const chunks = scoreTokens({
      engine,
      model: { head: await loadOwned(model), hidden },
      reference:
        reference === undefined || referenceHidden === undefined
          ? undefined
          : { head: await loadOwned(reference), hidden: referenceHidden },
      rowsPerChunk: logitRows(engine, model.config, options.logitBytes),
      signal: options.signal,
    });
    const tokens = windows.length * (windows[0].length - 1);
    const collected = await collectScores(chunks, tokens, options.onProgress);
    return {
      perplexity: perplexityOf(collected.losses),
      tokens,
      protocol: describeProtocol(options),
      ...(reference === undefined ? {} : { reference: compareToReference(collected) }),
    };
  } finally {
    for (const head of heads) head.free();
  }
}

function checkOptions({ model, reference, windows }: EvaluateOptions): void {
  const seqLen = windows.length === 0 ? 0 : windows[0].length;
  if (seqLen < 2)
    throw new UserError(
      `evaluation needs at least one window of 2 tokens, found ${windows.length} of ${seqLen}`,
      { advice: 'give a longer text or a larger --seq-len' },
    );
  if (reference !== undefined && reference.config.vocabSize !== model.config.vocabSize)
    throw new UserError(
      `the model has a vocabulary of ${model.config.vocabSize}, the reference one of ${reference.config.vocabSize}`,
      { advice: 'compare a quantized model with the model it was made from' },
    );
}

async function finalStates(
  options: EvaluateOptions,
  model: StreamedModel,
  stage: string,
): Promise<HiddenBatch[]> {
  const { engine, windows, batchTokens, signal, onProgress } = options;
  return runLayers({
    engine,
    ...model,
    windows,
    signal,
    onProgress,
    stage,
    ...(batchTokens === undefined ? {} : { batchTokens }),
  });
}

async function collectScores(
  chunks: AsyncIterable<ScoredChunk>,
  tokens: number,
  onProgress: ProgressListener | undefined,
): Promise<TokenComparisons> {
  const collected = {
    losses: new Float64Array(tokens),
    referenceLosses: new Float64Array(tokens),
    divergences: new Float64Array(tokens),
    deltaP: new Float64Array(tokens),
    sameTop: new Uint8Array(tokens),
  };
  let done = 0;
  for await (const { losses, reference } of chunks) {
    collected.losses.set(losses, done);
    if (reference !== undefined) {
      collected.referenceLosses.set(reference.losses, done);
      for (let i = 0; i < losses.length; i++) {
        const [divergence, referenceP, p, same] = reference.stats.subarray(4 * i, 4 * i + 4);
        collected.divergences[done + i] = divergence;
        collected.deltaP[done + i] = p - referenceP;
        collected.sameTop[done + i] = same;
      }
    }
    done += losses.length;
    onProgress?.({ stage: 'score', done, total: tokens });
  }
  return collected;
}

function describeProtocol({ engine, windows, text }: EvaluateOptions): EvaluationProtocol {
  const seqLen = windows[0].length;
  return {
    text: text.name,
    sha256: text.sha256,
    seqLen,
    stride: seqLen,
    windows: windows.length,
    dtype: engine.info.precision === 'f64' ? 'float64' : 'float32',
  };
}
