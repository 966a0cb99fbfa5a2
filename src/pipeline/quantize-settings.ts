import type { QuantSpec } from '../quant/records.js';

/** What decides the result of a quantization; the names are those of the command line. */
export interface QuantizeSettings {
  readonly spec: Omit<QuantSpec, 'minZero'>;
  /** Calibration windows. */
  readonly samples: number;
  /** Tokens per window; capped at the model's maximum, with a notice. */
  readonly seqLen: number;
  /** Seed of `shuffle`. */
  readonly seed: number;
  /** Windows from the whole text, seeded, instead of the first ones. */
  readonly shuffle: boolean;
  /** Leave linears alone that the group size or the packing does not divide, instead of refusing. */
  readonly skipUnsupported: boolean;
  /** Quantize the language-model head as well. */
  readonly lmHead: boolean;
  /** Default 5 GB. */
  readonly maxShardBytes?: number;
}

export const DEFAULT_SETTINGS: QuantizeSettings = {
  spec: {
    method: 'gptq',
    bits: 4,
    groupSize: 128,
    symmetric: true,
    order: 'natural',
    staticGroups: false,
    damp: 0.01,
    range: 'minmax',
    refine: 0,
  },
  samples: 128,
  seqLen: 2048,
  seed: 0,
  shuffle: false,
  skipUnsupported: false,
  lmHead: false,
};

/** The settings as one flat list, for halfbyte.json and the model card. */
export function flatSettings(settings: QuantizeSettings): Record<string, string | number | boolean> {
  const { spec } = settings;
  const calibrated = spec.method === 'gptq';
  return {
    method: spec.method,
    bits: spec.bits,
    groupSize: spec.groupSize,
    symmetric: spec.symmetric,
    range: spec.range,
    ...(calibrated
      ? {
          order: spec.order,
          staticGroups: spec.staticGroups,
          damp: spec.damp,
          refine: spec.refine,
          trueSequential: true,
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
  /** File name of the calibration text; undefined for the bundled one. */
  readonly calibration?: string | undefined;
}

/** The command that makes this folder again: every setting that is not a default, no machine's paths. */
export function commandText({ model, settings, calibration }: CommandOptions): string {
  const { spec } = settings;
  const base = DEFAULT_SETTINGS;
  const words: string[] = ['halfbyte quantize', model, '--out DIR'];
  const add = (differs: boolean, text: string): void => {
    if (differs) words.push(text);
  };
  add(spec.method !== base.spec.method, `--method ${spec.method}`);
  add(true, `--bits ${spec.bits} --group-size ${spec.groupSize}`);
  add(!spec.symmetric, '--asym');
  add(spec.order === 'act', '--act-order');
  add(spec.order === 'group-aware', '--group-aware-order');
  add(spec.staticGroups, '--static-groups');
  add(spec.damp !== base.spec.damp, `--damp ${spec.damp}`);
  add(spec.range !== base.spec.range, `--range ${spec.range}`);
  add(spec.refine !== base.spec.refine, `--refine ${spec.refine}`);
  if (spec.method === 'gptq') {
    add(calibration !== undefined, `--calib ${calibration ?? ''}`);
    add(true, `--samples ${settings.samples} --seq-len ${settings.seqLen}`);
    add(settings.shuffle, `--shuffle --seed ${settings.seed}`);
  }
  add(settings.skipUnsupported, '--skip-unsupported');
  add(settings.lmHead, '--lm-head');
  add(settings.maxShardBytes !== undefined, `--max-shard-size ${settings.maxShardBytes}`);
  return words.join(' ');
}
