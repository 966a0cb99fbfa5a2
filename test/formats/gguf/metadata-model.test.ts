import { describe, expect, it } from 'vitest';
import { FormatError, UserError } from '../../../src/core/errors.js';
import type { GgufMetadata, GgufValue } from '../../../src/formats/gguf/gguf-value.js';
import { shortestDecimal } from '../../../src/formats/gguf/metadata/metadata-reader.js';
import { modelMetadata } from '../../../src/formats/gguf/metadata/model-metadata.js';
import { readGgufConfig } from '../../../src/formats/gguf/metadata/read-config.js';
import { findLlama3Scaling, ropeFreqs } from '../../../src/formats/gguf/metadata/rope-freqs.js';
import { ropeFrequencies } from '../../../src/model/rope.js';
import { parseModelConfig } from '../../../src/model/config.js';
import { readFixture } from './metadata-fixture.js';

/**
 * Plan: keys against a config written by hand; every fixture through metadata and back to the same settings; what llama.cpp
 * cannot do is named; hostile metadata is refused with every offender. That llama.cpp computes the same with these keys is
 * shown in the conformance suite.
 */
const LLAMA = {
  model_type: 'llama',
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 100,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
};

function entries(json: object): { map: GgufMetadata; notes: readonly string[]; problems: readonly string[] } {
  const part = modelMetadata(parseModelConfig(json));
  return { map: new Map(part.entries), notes: part.notes, problems: part.problems };
}

function back(metadata: GgufMetadata, tensors: readonly string[] = [], freqs?: ArrayLike<number>): object {
  return readGgufConfig({
    metadata,
    file: 'x.gguf',
    hasTensor: (name) => tensors.includes(name),
    ropeFreqs: freqs,
  });
}

describe('settings of a model', () => {
  it('are written as the types that llama.cpp takes', () => {
    const { map, notes, problems } = entries({ ...LLAMA, head_dim: 32 });
    expect(map.get('llama.context_length')).toEqual({ type: 'u32', value: 512 });
    expect(map.get('llama.attention.key_length')).toEqual({ type: 'u32', value: 32 });
    expect(map.get('llama.attention.layer_norm_rms_epsilon')).toEqual({
      type: 'f32',
      value: Math.fround(1e-5),
    });
    expect([...notes, ...problems]).toEqual([]);
  });

  it('name what llama.cpp cannot do', () => {
    const llama3 = {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    };
    const { problems } = entries({
      ...LLAMA,
      model_type: 'qwen3',
      attention_bias: true,
      rope_scaling: llama3,
    });
    expect(problems.join('\n')).toMatch(/llama3.*\n.*o_proj/);
    const { notes } = entries({ ...LLAMA, model_type: 'mistral', sliding_window: 100 });
    expect(notes.join()).toContain('3 of 3 layers attend to the last 100 tokens');
    expect(entries({ ...LLAMA, model_type: 'mistral', sliding_window: 512 }).notes).toEqual([]);
    const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64, truncate: false };
    expect(entries({ ...LLAMA, rope_scaling: yarn }).notes.join()).toContain('truncate');
  });

  it.each(['llama', 'llama-linear', 'llama-untied-llama3', 'llama-yarn', 'qwen2', 'qwen3'])(
    'of tiny/%s come back the same',
    (name) => {
      const config = parseModelConfig(readFixture(`tiny/${name}/config.json`));
      const map = new Map<string, GgufValue>(modelMetadata(config).entries);
      map.set('general.architecture', { type: 'string', value: config.modelType });
      const tensors = config.tieWordEmbeddings ? [] : ['output.weight'];
      if (config.attentionBias)
        tensors.push(...['q', 'k', 'v', 'output'].map((part) => `blk.0.attn_${part}.bias`));
      if (config.mlpBias) tensors.push(...['gate', 'up', 'down'].map((part) => `blk.0.ffn_${part}.bias`));
      expect(parseModelConfig(back(map, tensors, ropeFreqs(config.rope)))).toEqual(config);
    },
  );

  it('come back with yarn as other programs set it', () => {
    const scaling = {
      rope_type: 'yarn',
      factor: 8,
      original_max_position_embeddings: 64,
      beta_fast: 16,
      beta_slow: 2,
      attention_factor: 1.25,
    };
    const config = parseModelConfig({ ...LLAMA, rope_scaling: scaling });
    const map = new Map<string, GgufValue>(modelMetadata(config).entries);
    map.set('general.architecture', { type: 'string', value: 'llama' });
    expect(parseModelConfig(back(map, ['output.weight']))).toEqual(config);
  });
});

describe('divisors of Llama 3', () => {
  const scalings = [
    { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 },
    { factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 },
    { factor: 4, lowFreqFactor: 1, highFreqFactor: 8, originalMaxPositions: 2048 },
  ].map((scaling) => ({ type: 'llama3' as const, ...scaling }));

  it.each(scalings)('divide frequencies to what our own forward uses, and are found again: %o', (scaling) => {
    for (const rotaryDims of [64, 128, 8]) {
      const rope = { theta: 500_000, rotaryDims, scaling };
      const scaled = ropeFrequencies(rope).inverse;
      const plain = ropeFrequencies({ ...rope, scaling: { type: 'default' } }).inverse;
      const divisors = ropeFreqs(rope) ?? new Float32Array();
      expect(divisors.length).toBe(rotaryDims / 2);
      divisors.forEach((divisor, i) => {
        expect(plain[i] / divisor / scaled[i]).toBeCloseTo(1, 6);
      });
      const found = findLlama3Scaling(divisors, rope);
      expect(found).toBeDefined();
      if (found === undefined) return;
      expect(ropeFreqs({ ...rope, scaling: found })).toEqual(divisors);
      if (rotaryDims >= 64) expect(found).toEqual(scaling);
    }
  });

  it('of another rule are not taken for it', () => {
    const rope = { theta: 500_000, rotaryDims: 16 };
    expect(findLlama3Scaling([1, 2, 3, 4, 5, 6, 7, 8], rope)).toBeUndefined();
    expect(findLlama3Scaling([1, 1, 1, 1, 1, 1, 1, 1], rope)).toBeUndefined();
    expect(findLlama3Scaling([1, NaN, 1, 8, 8, 8, 8, 8], rope)).toBeUndefined();
    expect(findLlama3Scaling([1, 8], rope)).toBeUndefined();
  });
});

describe('metadata that cannot be a model of ours', () => {
  const good = (): Map<string, GgufValue> => {
    const map = new Map<string, GgufValue>(modelMetadata(parseModelConfig(LLAMA)).entries);
    return map.set('general.architecture', { type: 'string', value: 'llama' });
  };

  it('is refused with all offenders', () => {
    const map = good();
    map.delete('llama.block_count');
    map.set('llama.embedding_length', { type: 'string', value: 'many' });
    expect(() => back(map)).toThrow(FormatError);
    expect(() => back(map)).toThrow(/embedding_length.*found string many[^]*block_count.*found nothing/);
  });

  it.each([
    ['llama.expert_count', { type: 'u32', value: 8 }],
    ['llama.rope.dimension_count', { type: 'u32', value: 8 }],
    ['llama.rope.scaling.type', { type: 'string', value: 'longrope' }],
    ['general.architecture', { type: 'string', value: 'gpt2' }],
    ['general.type', { type: 'string', value: 'adapter' }],
  ] as const)('is refused for %s', (key, value) => {
    expect(() => back(good().set(key, value))).toThrow(UserError);
  });

  it('is refused for biases on some linears only', () => {
    expect(() => back(good(), ['blk.0.attn_q.bias', 'blk.0.attn_k.bias'])).toThrow(/attn_q, attn_k$/m);
  });

  it('is refused for head counts by layer', () => {
    const counts = { type: 'array', items: 'u32', values: [4, 4, 2] } as const;
    expect(() => back(good().set('llama.attention.head_count', counts))).toThrow(/an array of 3 u32/);
  });
});

describe('shortestDecimal', () => {
  it('gives the number that was written by hand', () => {
    for (const value of [1e-5, 1e-6, 0.1, 500_000, 1.25, 3.402_823_5e38])
      expect(shortestDecimal(Math.fround(value))).toBe(value);
  });
});
