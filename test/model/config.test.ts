/**
 * Plan: config.json in old and new spelling → one ModelConfig; each architecture's own rules for windows, biases and
 * defaults; every unusable file gives one error that names all offenders.
 */
import { describe, expect, it } from 'vitest';
import { FormatError, UserError } from '../../src/core/errors.js';
import { parseModelConfig } from '../../src/model/index.js';

type Json = Record<string, unknown>;

const BASE: Json = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_act: 'silu',
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 100,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 5000,
  torch_dtype: 'bfloat16',
};

function without(...keys: string[]): Json {
  return Object.fromEntries(Object.entries(BASE).filter(([key]) => !keys.includes(key)));
}

function parse(changes: Json, base = BASE) {
  return parseModelConfig({ ...base, ...changes });
}

function errorOf(json: unknown): Error {
  try {
    parseModelConfig(json, 'some/config.json');
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('no error was thrown');
}

describe('common settings', () => {
  it('are read as they stand', () => {
    expect(parse({})).toEqual({
      modelType: 'llama',
      hiddenSize: 64,
      intermediateSize: 96,
      numHiddenLayers: 3,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 16,
      vocabSize: 100,
      maxPositionEmbeddings: 512,
      rmsNormEps: 1e-5,
      rope: { theta: 5000, rotaryDims: 16, scaling: { type: 'default' } },
      slidingWindows: [undefined, undefined, undefined],
      tieWordEmbeddings: false,
      attentionBias: false,
      attentionOutBias: false,
      mlpBias: false,
      qkNorm: false,
    });
  });

  it.each([
    ['llama', without('num_key_value_heads'), 4],
    ['mistral', without('num_key_value_heads'), 8],
    ['mistral', { ...BASE, num_key_value_heads: null }, 8],
    ['qwen2', { ...BASE, num_key_value_heads: null }, 8],
    ['qwen3', { ...BASE, num_key_value_heads: 4 }, 4],
  ])('key-value heads of %s', (modelType, base, expected) => {
    const heads = modelType === 'llama' ? {} : { num_attention_heads: 8 };
    expect(parse({ model_type: modelType, ...heads }, base).numKeyValueHeads).toBe(expected);
  });

  it.each([
    ['llama', {}, 16],
    ['llama', { head_dim: null }, 16],
    ['llama', { head_dim: 24 }, 24],
    ['llama', { head_dim: 24, hidden_size: 62 }, 24],
    ['mistral', { head_dim: 40 }, 40],
    ['qwen2', {}, 16],
    ['qwen3', {}, 128],
    ['qwen3', { head_dim: 32 }, 32],
  ])('head size of %s with %j', (modelType, changes, expected) => {
    const config = parse({ model_type: modelType, ...changes });
    expect(config.headDim).toBe(expected);
    expect(config.rope.rotaryDims).toBe(expected);
  });

  it('has defaults of the configuration classes', () => {
    const config = parseModelConfig(without('max_position_embeddings', 'rms_norm_eps', 'rope_theta'));
    expect(config.maxPositionEmbeddings).toBe(2048);
    expect(config.rmsNormEps).toBe(1e-6);
    expect(config.rope.theta).toBe(10000);
  });
});

describe('biases and norms', () => {
  it.each([
    ['llama', { attention_bias: true }, [true, true, false, false]],
    ['llama', { mlp_bias: true }, [false, false, true, false]],
    ['mistral', { attention_bias: true }, [false, false, false, false]],
    ['qwen2', {}, [true, false, false, false]],
    ['qwen3', {}, [false, false, false, true]],
    ['qwen3', { attention_bias: true }, [true, true, false, true]],
  ])('%s %j', (modelType, changes, expected) => {
    const config = parse({ model_type: modelType, ...changes });
    expect([config.attentionBias, config.attentionOutBias, config.mlpBias, config.qkNorm]).toEqual(expected);
  });
});

describe('sliding windows', () => {
  const none = [undefined, undefined, undefined];
  it.each([
    ['llama', { sliding_window: 8 }, none],
    ['mistral', {}, [4096, 4096, 4096]],
    ['mistral', { sliding_window: 8 }, [8, 8, 8]],
    ['mistral', { sliding_window: null }, none],
    ['qwen2', { sliding_window: 8 }, none],
    ['qwen2', { sliding_window: 8, use_sliding_window: true }, none],
    ['qwen2', { sliding_window: 8, use_sliding_window: true, max_window_layers: 1 }, [undefined, 8, 8]],
    ['qwen2', { use_sliding_window: true, max_window_layers: 0 }, [4096, 4096, 4096]],
    ['qwen3', { sliding_window: null, use_sliding_window: true, max_window_layers: 0 }, none],
    [
      'qwen3',
      {
        sliding_window: 8,
        use_sliding_window: true,
        layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'],
      },
      [8, undefined, 8],
    ],
  ])('%s %j', (modelType, changes, expected) => {
    expect(parse({ model_type: modelType, ...changes }).slidingWindows).toEqual(expected);
  });
});

describe('RoPE spellings', () => {
  const llama3 = {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 128,
  };
  const llama3Config = {
    type: 'llama3',
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositions: 128,
  };
  const yarnConfig = {
    type: 'yarn',
    factor: 4,
    betaFast: 32,
    betaSlow: 1,
    originalMaxPositions: 512,
    truncate: true,
  };
  it.each([
    [{ rope_scaling: null }, 5000, { type: 'default' }],
    [{ rope_scaling: { type: 'linear', factor: 2 } }, 5000, { type: 'linear', factor: 2 }],
    [{ rope_scaling: { rope_type: 'llama3', ...llama3 } }, 5000, llama3Config],
    [{ rope_parameters: { rope_type: 'default', rope_theta: 7 } }, 7, { type: 'default' }],
    [{ rope_parameters: { rope_type: 'llama3', rope_theta: 7, ...llama3 } }, 7, llama3Config],
    [{ rope_scaling: { type: 'yarn', factor: 4 } }, 5000, yarnConfig],
    [
      { rope_scaling: { type: 'yarn', factor: null, original_max_position_embeddings: 128 } },
      5000,
      { ...yarnConfig, originalMaxPositions: 128 },
    ],
    [
      { rope_scaling: { type: 'yarn', factor: 4 }, original_max_position_embeddings: 64 },
      5000,
      { ...yarnConfig, originalMaxPositions: 64 },
    ],
    [
      {
        rope_scaling: {
          type: 'yarn',
          factor: 4,
          beta_fast: 16,
          beta_slow: 2,
          mscale: 0.7,
          mscale_all_dim: 1,
          attention_factor: 1.5,
          truncate: false,
        },
      },
      5000,
      {
        ...yarnConfig,
        betaFast: 16,
        betaSlow: 2,
        mscale: 0.7,
        mscaleAllDim: 1,
        attentionFactor: 1.5,
        truncate: false,
      },
    ],
  ])('%j', (changes, theta, scaling) => {
    expect(parse(changes).rope).toEqual({ theta, rotaryDims: 16, scaling });
  });
});

describe('unusable files', () => {
  it('without a known architecture name the known ones', () => {
    const error = errorOf({ ...BASE, model_type: 'gemma2' });
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toContain('some/config.json: model_type "gemma2"');
    expect(error.message).toContain('llama, mistral, qwen2, qwen3');
    expect(errorOf({}).message).toContain('no model_type');
    expect(errorOf([])).toBeInstanceOf(FormatError);
    expect(errorOf(null)).toBeInstanceOf(FormatError);
  });

  it('list every missing or odd key', () => {
    const error = errorOf({
      model_type: 'llama',
      hidden_size: '64',
      num_hidden_layers: 1e9,
      num_attention_heads: 6,
      num_key_value_heads: 4,
      head_dim: 15,
      intermediate_size: 0,
      rms_norm_eps: -1,
      tie_word_embeddings: 'yes',
      rope_scaling: { type: 'llama3', factor: 2, low_freq_factor: 4, high_freq_factor: 1 },
    });
    expect(error).toBeInstanceOf(FormatError);
    for (const part of [
      'some/config.json',
      '"hidden_size" must be a number, found "64"',
      '"num_hidden_layers" must be at most 4096',
      '"num_key_value_heads" must be a divisor',
      '"head_dim" must be even',
      '"intermediate_size" must be a positive integer, found 0',
      '"vocab_size" must be a number, found nothing',
      '"rms_norm_eps" must be a positive number',
      '"tie_word_embeddings" must be true or false',
      '"rope_scaling.high_freq_factor" must be more than',
    ])
      expect(error.message).toContain(part);
  });

  it('list every feature that is not there', () => {
    const error = errorOf({
      ...BASE,
      architectures: ['LlamaForSequenceClassification'],
      hidden_act: 'gelu',
      num_experts: 8,
      partial_rotary_factor: 0.5,
      attn_logit_softcapping: 50,
      use_mrope: true,
      rope_scaling: { rope_type: 'longrope' },
    });
    expect(error).toBeInstanceOf(UserError);
    for (const key of [
      'architectures',
      'hidden_act',
      'num_experts',
      'partial_rotary_factor',
      'attn_logit_softcapping',
      'use_mrope',
      'rope_scaling.rope_type',
    ])
      expect(error.message).toContain(`"${key}" is`);
  });

  it.each([
    [{ rope_scaling: { type: 'mrope', mrope_section: [4, 4] } }, 'mrope_section'],
    [{ rope_scaling: { type: 'dynamic', factor: 2 } }, 'default, linear, llama3, yarn'],
    [{ rope_parameters: { full_attention: { rope_type: 'default' } } }, 'one set of RoPE parameters'],
    [{ model_type: 'qwen2', layer_types: ['full_attention'] }, 'an array of 3 layer types'],
    [
      { model_type: 'qwen3', layer_types: ['full_attention', 'sliding_attention', 'linear_attention'] },
      '"layer_types" is',
    ],
    [
      { model_type: 'qwen3', layer_types: ['full_attention', 'sliding_attention', 'full_attention'] },
      '"sliding_window" must be',
    ],
    [{ head_dim: null, num_attention_heads: 6, num_key_value_heads: 6 }, 'a multiple of num_attention_heads'],
    [{ rope_scaling: { type: 'linear' } }, '"rope_scaling.factor" must be a number, found nothing'],
  ])('%j', (changes, part) => {
    expect(errorOf({ ...BASE, ...changes }).message).toContain(part);
  });

  it('leave quantized weights to those who read them', () => {
    expect(parse({ quantization_config: { quant_method: 'gptq', bits: 4 } }).hiddenSize).toBe(64);
    expect(parse({ quantization_config: { bits: 4 } }).hiddenSize).toBe(64);
  });
});
