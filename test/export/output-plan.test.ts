import { describe, expect, it } from 'vitest';
import { planOutput } from '../../src/export/output-plan.js';
import type { TensorInfo } from '../../src/formats/safetensors/header.js';

const info = (name: string, shape: number[]): TensorInfo => {
  return { name, dtype: 'BF16', shape, file: 'model.safetensors', begin: 0, end: 0 };
};

/** In the order of a file sorted by name, which is not the order of layers. */
const TENSORS = [
  info('lm_head.weight', [160, 64]),
  info('model.embed_tokens.weight', [160, 64]),
  info('model.layers.0.mlp.up_proj.weight', [96, 64]),
  info('model.layers.0.self_attn.q_proj.bias', [64]),
  info('model.layers.0.self_attn.q_proj.weight', [64, 64]),
  info('model.layers.0.self_attn.rotary_emb.inv_freq', [8]),
  info('model.layers.10.mlp.up_proj.weight', [96, 64]),
  info('model.layers.2.mlp.up_proj.weight', [96, 64]),
  info('model.norm.weight', [64]),
];
const linear = (name: string, outFeatures: number) => {
  return { name, outFeatures, inFeatures: 64, bits: 3 as const, groups: 2 };
};

describe('planOutput', () => {
  const plan = planOutput(TENSORS, [
    linear('model.layers.0.self_attn.q_proj', 64),
    linear('model.layers.0.mlp.up_proj', 96),
    linear('model.layers.2.mlp.up_proj', 96),
    linear('model.layers.10.mlp.up_proj', 96),
  ]);

  it('orders tensors as a run produces them: layers by number, linears in the order given, bias behind', () => {
    const order = plan.map(({ name }) => name).filter((name) => !/\.(qzeros|scales|g_idx)$/.test(name));
    expect(order).toEqual([
      'model.embed_tokens.weight',
      'model.layers.0.self_attn.rotary_emb.inv_freq',
      'model.layers.0.self_attn.q_proj.qweight',
      'model.layers.0.self_attn.q_proj.bias',
      'model.layers.0.mlp.up_proj.qweight',
      'model.layers.2.mlp.up_proj.qweight',
      'model.layers.10.mlp.up_proj.qweight',
      'lm_head.weight',
      'model.norm.weight',
    ]);
  });

  it('replaces a weight by the four GPTQ tensors with their shapes, and copies everything else', () => {
    const up = plan.filter(({ name }) => name.startsWith('model.layers.0.mlp.up_proj'));
    expect(up.map(({ name, dtype, shape }) => [name.split('.').at(-1), dtype, shape])).toEqual([
      ['qweight', 'I32', [6, 96]],
      ['qzeros', 'I32', [2, 9]],
      ['scales', 'F16', [2, 96]],
      ['g_idx', 'I32', [64]],
    ]);
    const bias = plan.find(({ name }) => name.endsWith('q_proj.bias'));
    expect(bias).toMatchObject({ dtype: 'BF16', shape: [64], origin: { kind: 'copied' } });
    expect(plan).toHaveLength(TENSORS.length + 4 * 3);
  });

  it('refuses a linear that the checkpoint does not have', () => {
    expect(() => planOutput(TENSORS, [linear('model.layers.1.mlp.up_proj', 96)])).toThrow(/layers\.1/);
  });
});
