import type { ConfigReader } from './config-reader.js';
import type { RopeConfig } from './types.js';

/** What Hugging Face assumes when no base is named anywhere. */
const DEFAULT_THETA = 10_000;

const SUPPORTED = 'default, linear, llama3, yarn';

/**
 * RoPE settings from either spelling: `rope_scaling` (with "type" or "rope_type") beside `rope_theta`, or the newer
 * `rope_parameters` that holds the base too. As in transformers, `rope_scaling` wins when both are there, and an outer
 * `original_max_position_embeddings` wins over the inner one.
 */
export function readRope(reader: ConfigReader, headDim: number, maxPositions: number): RopeConfig {
  const scaling = reader.object('rope_scaling') ?? reader.object('rope_parameters');
  const outerTheta = reader.positiveNumber('rope_theta', DEFAULT_THETA);
  const theta = scaling?.positiveNumber('rope_theta', outerTheta) ?? outerTheta;
  refusePartial(reader);
  if (scaling !== undefined) refusePartial(scaling);
  return {
    theta,
    rotaryDims: headDim,
    scaling: scaling === undefined ? { type: 'default' } : readScaling(reader, scaling, maxPositions),
  };
}

function refusePartial(reader: ConfigReader): void {
  if (reader.positiveNumber('partial_rotary_factor', 1) !== 1)
    reader.refuse('partial_rotary_factor', '1 (RoPE over the whole head)');
}

function readScaling(
  outer: ConfigReader,
  scaling: ConfigReader,
  maxPositions: number,
): RopeConfig['scaling'] {
  if (scaling.has('full_attention') || scaling.has('sliding_attention')) {
    outer.refuse('rope_parameters', 'one set of RoPE parameters for all layers');
    return { type: 'default' };
  }
  if (scaling.has('mrope_section')) scaling.refuse('mrope_section', 'text positions only');
  const typeKey = scaling.has('rope_type') ? 'rope_type' : 'type';
  const originalMaxPositions = (): number =>
    outer.has('original_max_position_embeddings')
      ? outer.positiveInt('original_max_position_embeddings')
      : scaling.positiveInt('original_max_position_embeddings', maxPositions);
  const type = scaling.string(typeKey, 'default');
  switch (type) {
    case 'default':
      return { type };
    case 'linear':
      return { type, factor: scaling.positiveNumber('factor') };
    case 'llama3':
      return readLlama3(scaling, originalMaxPositions());
    case 'yarn':
      return readYarn(scaling, originalMaxPositions(), maxPositions);
    default:
      scaling.refuse(typeKey, SUPPORTED);
      return { type: 'default' };
  }
}

function readLlama3(scaling: ConfigReader, originalMaxPositions: number): RopeConfig['scaling'] {
  const lowFreqFactor = scaling.positiveNumber('low_freq_factor');
  const highFreqFactor = scaling.positiveNumber('high_freq_factor');
  if (scaling.has('high_freq_factor') && scaling.has('low_freq_factor') && highFreqFactor <= lowFreqFactor)
    scaling.complain('high_freq_factor', `more than low_freq_factor (${lowFreqFactor})`);
  return {
    type: 'llama3',
    factor: scaling.positiveNumber('factor'),
    lowFreqFactor,
    highFreqFactor,
    originalMaxPositions,
  };
}

function readYarn(
  scaling: ConfigReader,
  originalMaxPositions: number,
  maxPositions: number,
): RopeConfig['scaling'] {
  const optional = (key: string): number | undefined =>
    scaling.has(key) && scaling.raw(key) !== 0 ? scaling.positiveNumber(key) : undefined;
  const attentionFactor = optional('attention_factor');
  const mscale = optional('mscale');
  const mscaleAllDim = optional('mscale_all_dim');
  return {
    type: 'yarn',
    factor: scaling.positiveNumber('factor', maxPositions / originalMaxPositions),
    betaFast: optional('beta_fast') ?? 32,
    betaSlow: optional('beta_slow') ?? 1,
    originalMaxPositions,
    truncate: scaling.boolean('truncate', true),
    ...(attentionFactor === undefined ? {} : { attentionFactor }),
    ...(mscale === undefined ? {} : { mscale }),
    ...(mscaleAllDim === undefined ? {} : { mscaleAllDim }),
  };
}
