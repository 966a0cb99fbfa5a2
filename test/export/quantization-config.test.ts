import { describe, expect, it } from 'vitest';
import { patchedConfigText } from '../../src/export/config-text.js';
import { partlySkippedNames, quantizationConfig } from '../../src/export/quantization-config.js';
import type { QuantSpec } from '../../src/quant/records.js';

const SPEC: QuantSpec = {
  method: 'gptq',
  bits: 4,
  groupSize: 128,
  symmetric: true,
  order: 'natural',
  staticGroups: false,
  damp: 0.01,
  range: 'minmax',
  refine: 0,
  minZero: 1,
};
const config = (spec: Partial<QuantSpec>, skipped: string[] = []) =>
  quantizationConfig({
    spec: { ...SPEC, ...spec },
    toolVersion: '1.2.3',
    lmHead: false,
    quantized: ['model.layers.0.mlp.up_proj', 'model.layers.1.mlp.up_proj', 'model.layers.1.mlp.down_proj'],
    skipped,
  });

describe('quantizationConfig', () => {
  it('writes what AutoGPTQ, GPTQModel, transformers and vLLM all accept', () => {
    expect(config({})).toMatchObject({
      quant_method: 'gptq',
      checkpoint_format: 'gptq',
      bits: 4,
      group_size: 128,
      desc_act: false,
      sym: true,
      lm_head: false,
      damp_percent: 0.01,
    });
    expect(config({})).not.toHaveProperty('dynamic');
    expect(config({})).not.toHaveProperty('modules_in_block_to_quantize');
  });

  it('writes asymmetric grids as v2 under both spellings', () => {
    expect(config({ symmetric: false })).toMatchObject({
      sym: false,
      checkpoint_format: 'gptq_v2',
      format: 'gptq_v2',
    });
  });

  it('says desc_act only where g_idx is not trivial', () => {
    expect(config({ order: 'act' }).desc_act).toBe(true);
    expect(config({ order: 'act', staticGroups: true }).desc_act).toBe(false);
    expect(config({ order: 'act', groupSize: -1 }).desc_act).toBe(false);
    expect(config({ order: 'group-aware' }).desc_act).toBe(false);
    expect(config({ order: 'act', method: 'rtn' }).desc_act).toBe(false);
  });

  it('tells both families of loaders what was skipped', () => {
    const skipped = ['model.layers.0.mlp.down_proj'];
    const written = config({}, skipped);
    expect(written.modules_in_block_to_quantize).toEqual([['mlp.up_proj']]);
    expect(written.dynamic).toEqual({ '-:^model\\.layers\\.0\\.mlp\\.down_proj$': {} });
    expect(partlySkippedNames(['model.layers.1.mlp.down_proj'], skipped)).toEqual(['mlp.down_proj']);
    expect(partlySkippedNames(['model.layers.1.mlp.up_proj'], skipped)).toEqual([]);
  });
});

describe('patchedConfigText', () => {
  it('keeps the text of every other key, floats that look like integers included', () => {
    const original = '{\n  "model_type": "llama",\n  "rope_theta": 10000.0,\n  "eps": 1e-05\n}\n';
    const patched = patchedConfigText(original, JSON.parse(original) as Record<string, unknown>, { bits: 4 });
    expect(patched).toBe(
      '{\n  "model_type": "llama",\n  "rope_theta": 10000.0,\n  "eps": 1e-05,\n  "quantization_config": {\n    "bits": 4\n  }\n}\n',
    );
  });

  it('replaces a null in place of repeating the key, and copes with an empty object', () => {
    const original = '{"quantization_config": null, "a": 1}';
    const patched = patchedConfigText(original, JSON.parse(original) as Record<string, unknown>, { bits: 4 });
    expect(JSON.parse(patched)).toEqual({ quantization_config: { bits: 4 }, a: 1 });
    expect(patched.match(/quantization_config/g)).toHaveLength(1);
    expect(JSON.parse(patchedConfigText('{}', {}, { bits: 4 }))).toEqual({
      quantization_config: { bits: 4 },
    });
  });
});
