import { UserError } from '../core/errors.js';
import type { NoticeListener } from '../core/progress.js';
import type { ByteSource } from '../io/byte-source.js';
import type { ModelConfig } from '../model/types.js';
import type { CalibrationRecord } from '../report/run-record.js';
import type { TextTokenizer, TokenWindows } from '../text/index.js';
import { collectWindows, readText, sha256OfSource } from '../text/index.js';
import type { QuantizeSettings } from './quantize-settings.js';

export interface CalibrationOptions {
  readonly text: ByteSource;
  /** How the record calls the text: a file name without its folder. */
  readonly label: string;
  readonly tokenizer: TextTokenizer;
  readonly config: ModelConfig;
  readonly settings: QuantizeSettings;
  readonly signal?: AbortSignal | undefined;
  readonly onNotice?: NoticeListener | undefined;
}

export interface Calibration {
  readonly windows: readonly Uint32Array[];
  readonly record: CalibrationRecord;
}

/** The calibration windows of a run. UserError when the text does not fill one. Memory: the tokens read. */
export async function prepareCalibration(options: CalibrationOptions): Promise<Calibration> {
  const { text, label, tokenizer, config, settings, signal } = options;
  const seqLen = cappedSeqLen(settings.seqLen, config, options.onNotice);
  const found: TokenWindows = await collectWindows({
    ids: tokenizer.encodeStream(readText(text, signal)),
    seqLen,
    count: settings.samples,
    ...(settings.shuffle ? { shuffleSeed: settings.seed } : {}),
    name: `calibration text ${text.name}`,
  });
  const samples = found.windows.length;
  if (samples < settings.samples)
    options.onNotice?.(
      `the calibration text fills ${samples} windows of ${seqLen} tokens; ${settings.samples} were asked for`,
    );
  return {
    windows: found.windows,
    record: {
      text: label,
      sha256: await sha256OfSource(text, signal),
      samples,
      seqLen,
      tokens: samples * seqLen,
      shuffle: settings.shuffle,
    },
  };
}

/** The window length a model allows, with a notice where that is less than asked for. */
export function cappedSeqLen(asked: number, config: ModelConfig, onNotice?: NoticeListener): number {
  const max = config.maxPositionEmbeddings;
  if (asked < 2) throw new UserError(`window length ${asked}: at least 2 tokens expected`);
  if (asked <= max) return asked;
  onNotice?.(`window length ${asked} is capped at the model's maximum of ${max} tokens`);
  return max;
}
