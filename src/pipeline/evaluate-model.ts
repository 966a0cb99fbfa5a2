import type { NoticeListener, ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import type { Evaluation } from '../eval/index.js';
import { evaluateModel as evaluateStreamed } from '../eval/index.js';
import type { ResolvedModel } from '../hub/index.js';
import type { ByteSource } from '../io/byte-source.js';
import { collectWindows, readText, sha256OfSource } from '../text/index.js';
import { cappedSeqLen } from './calibration-windows.js';
import { openModel, openTokenizer } from './open-model.js';
import { streamed } from './streamed-model.js';

export interface EvaluateModelOptions {
  readonly model: ResolvedModel;
  /** The model to compare with, usually the one the first was made from. */
  readonly reference?: ResolvedModel;
  readonly engine: Engine;
  /** .txt, or .jsonl with a text field. */
  readonly text: ByteSource;
  /** How the protocol calls the text; default: the source's name. */
  readonly textName?: string;
  /** Tokens per window; capped at the models' maximum with a notice. Default 2048. */
  readonly seqLen?: number;
  /** Only the first windows. */
  readonly maxWindows?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly onNotice?: NoticeListener;
}

const DEFAULT_SEQ_LEN = 2048;

/**
 * Perplexity of a 16-bit or GPTQ model on a text, and its divergence from a reference: windows one after another, no
 * special tokens, the first token of each not scored. The tokenizer is the model's own.
 *
 * Errors: UserError for text shorter than one window and for models with different vocabularies; FormatError for damaged
 * files; NumericError where values stop being finite; AbortError.
 */
export async function evaluateModel(options: EvaluateModelOptions): Promise<Evaluation> {
  const { engine, text, signal, onProgress, onNotice } = options;
  const opened = await openModel(options.model, signal);
  const reference = options.reference === undefined ? undefined : await openModel(options.reference, signal);
  const tokenizer = await openTokenizer(opened, signal);
  const smaller =
    reference !== undefined && reference.config.maxPositionEmbeddings < opened.config.maxPositionEmbeddings
      ? reference.config
      : opened.config;
  const { windows } = await collectWindows({
    ids: tokenizer.encodeStream(readText(text, signal)),
    seqLen: cappedSeqLen(options.seqLen ?? DEFAULT_SEQ_LEN, smaller, onNotice),
    count: options.maxWindows,
    name: `evaluation text ${text.name}`,
  });
  return evaluateStreamed({
    engine,
    model: streamed(opened, engine, signal),
    reference: reference === undefined ? undefined : streamed(reference, engine, signal),
    windows,
    text: { name: options.textName ?? text.name, sha256: await sha256OfSource(text, signal) },
    signal,
    onProgress,
  });
}
