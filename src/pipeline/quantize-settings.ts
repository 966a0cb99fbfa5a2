import type { Bits } from '../core/quantized-linear.js';
import type { FormatName } from '../export/output-format.js';
import type { QuantSpec } from '../quant/records.js';

/** gptq and awq are calibrated; the others look at nothing but the weights. */
export const METHODS = ['gptq', 'rtn', 'nf4', 'fp4', 'hqq', 'awq'] as const;
export type Method = (typeof METHODS)[number];

/** What decides the result of a quantization; the names are those of the command line. */
export interface QuantizeSettings {
  readonly method: Method;
  /** What is written; codes are computed once for all of them. Empty: the method's usual format. */
  readonly formats: readonly FormatName[];
  /** Bits per code; undefined: what the formats use, else 4. Not for nf4 and fp4. */
  readonly bits?: Bits | undefined;
  /** Columns per group, −1 for one group per output channel; undefined: what the formats use, else 128. */
  readonly groupSize?: number | undefined;
  /** One scale for every whole matrix, written as one per output channel. */
  readonly perTensor?: boolean;
  /** Undefined: what the formats use, else true. */
  readonly symmetric?: boolean | undefined;
  /** Elements per block of nf4 and fp4. */
  readonly blockSize: number;
  /** Quantize the absmax values of nf4 and fp4 as well. */
  readonly doubleQuant: boolean;
  readonly order: QuantSpec['order'];
  readonly staticGroups: boolean;
  readonly damp: number;
  /** Undefined: mse for gptq on grids of signed scales or real minima (GGUF's Q4_0, Q4_1 …), else minmax. */
  readonly range?: 'minmax' | 'mse' | undefined;
  readonly refine: number;
  /** Calibration windows. */
  readonly samples: number;
  /** Tokens per window; capped at the model's maximum, with a notice. */
  readonly seqLen: number;
  /** Seed of `shuffle`. */
  readonly seed: number;
  /** Windows from the whole text, seeded, instead of the first ones. */
  readonly shuffle: boolean;
  /** Leave linears alone that the group size or a format does not allow, instead of refusing. */
  readonly skipUnsupported: boolean;
  /** Quantize the language-model head as well. */
  readonly lmHead: boolean;
  /** Default 5 GB. */
  readonly maxShardBytes?: number;
}

export const DEFAULT_SETTINGS: QuantizeSettings = {
  method: 'gptq',
  formats: [],
  blockSize: 64,
  doubleQuant: true,
  order: 'natural',
  staticGroups: false,
  damp: 0.01,
  refine: 0,
  samples: 128,
  seqLen: 2048,
  seed: 0,
  shuffle: false,
  skipUnsupported: false,
  lmHead: false,
};

export function isCalibrated(method: Method): boolean {
  return method === 'gptq' || method === 'awq';
}

export function isCodebook(method: Method): method is 'nf4' | 'fp4' {
  return method === 'nf4' || method === 'fp4';
}

/** The grid that plan-quantization resolved for most linears; codebooks have none. */
export interface ResolvedGrid {
  readonly bits: Bits;
  readonly groupSize: number;
  readonly symmetric: boolean;
}

/** The settings as one flat list, for halfbyte.json and the model card. */
export function flatSettings(
  settings: QuantizeSettings,
  grid: ResolvedGrid | undefined,
): Record<string, string | number | boolean> {
  const { method } = settings;
  return {
    method,
    ...(grid === undefined
      ? { bits: 4, blockSize: settings.blockSize, doubleQuant: settings.doubleQuant }
      : {
          ...grid,
          ...(settings.perTensor === true ? { perTensor: true } : {}),
          ...(settings.range === undefined ? {} : { range: settings.range }),
        }),
    ...(method === 'gptq'
      ? {
          order: settings.order,
          staticGroups: settings.staticGroups,
          damp: settings.damp,
          refine: settings.refine,
          trueSequential: true,
        }
      : {}),
    ...(isCalibrated(method)
      ? {
          samples: settings.samples,
          seqLen: settings.seqLen,
          shuffle: settings.shuffle,
          seed: settings.seed,
        }
      : {}),
    skipUnsupported: settings.skipUnsupported,
    lmHead: settings.lmHead,
  };
}

export interface CommandOptions {
  /** Hub id or folder name. */
  readonly model: string;
  readonly settings: QuantizeSettings;
  readonly formats: readonly FormatName[];
  readonly grid: ResolvedGrid | undefined;
  /** File name of the calibration text; undefined for the bundled one. */
  readonly calibration?: string | undefined;
}

/** The command that makes this folder again: every setting that decides something, no machine's paths. */
export function commandText({ model, settings, formats, grid, calibration }: CommandOptions): string {
  const base = DEFAULT_SETTINGS;
  const words: string[] = ['halfbyte quantize', model, '--out DIR'];
  const add = (differs: boolean, text: string): void => {
    if (differs) words.push(text);
  };
  add(settings.method !== base.method, `--method ${settings.method}`);
  add(true, `--format ${formats.join(',')}`);
  if (grid === undefined) {
    add(settings.blockSize !== base.blockSize, `--block-size ${settings.blockSize}`);
    add(!settings.doubleQuant, '--no-double-quant');
  } else if (!formats.some((format) => format.startsWith('gguf-'))) {
    const granularity = settings.perTensor === true ? '--per-tensor' : `--group-size ${grid.groupSize}`;
    words.push(`--bits ${grid.bits} ${granularity}`, grid.symmetric ? '--sym' : '--asym');
  }
  add(settings.order === 'act', '--act-order');
  add(settings.order === 'group-aware', '--group-aware-order');
  add(settings.staticGroups, '--static-groups');
  add(settings.damp !== base.damp, `--damp ${settings.damp}`);
  add(settings.range !== undefined, `--range ${settings.range}`);
  add(settings.refine !== base.refine, `--refine ${settings.refine}`);
  if (isCalibrated(settings.method)) {
    add(calibration !== undefined, `--calib ${calibration ?? ''}`);
    add(true, `--samples ${settings.samples} --seq-len ${settings.seqLen}`);
    add(settings.shuffle, `--shuffle --seed ${settings.seed}`);
  }
  add(settings.skipUnsupported, '--skip-unsupported');
  add(settings.lmHead, '--lm-head');
  add(settings.maxShardBytes !== undefined, `--max-shard-size ${settings.maxShardBytes}`);
  return words.join(' ');
}
