import { describe, expect, it } from 'vitest';
import { planItems } from '../../src/export/model-items.js';
import type { PlannedDense, PlannedLinear } from '../../src/export/output-format.js';

const dense = (name: string, shape: number[]): PlannedDense => ({ name, dtype: 'BF16', shape });

/** In the order of a file sorted by name, which is not the order of layers. */
const DENSE = [
  dense('lm_head.weight', [160, 64]),
  dense('model.embed_tokens.weight', [160, 64]),
  dense('model.layers.0.self_attn.q_proj.bias', [64]),
  dense('model.layers.0.self_attn.rotary_emb.inv_freq', [8]),
  dense('model.norm.weight', [64]),
];
const linear = (name: string): PlannedLinear => ({
  name,
  outFeatures: 64,
  inFeatures: 64,
  sourceDType: 'BF16',
  grid: { kind: 'k-quant', type: 'q4_k' },
});

describe('planItems', () => {
  it('orders parts as a run produces them: layers by number, linears in the order given, bias behind', () => {
    const items = planItems(DENSE, [
      linear('model.layers.0.self_attn.q_proj'),
      linear('model.layers.0.mlp.up_proj'),
      linear('model.layers.2.mlp.up_proj'),
      linear('model.layers.10.mlp.up_proj'),
    ]);
    expect(items.map((item) => (item.kind === 'linear' ? item.linear.name : item.tensor.name))).toEqual([
      'model.embed_tokens.weight',
      'model.layers.0.self_attn.rotary_emb.inv_freq',
      'model.layers.0.self_attn.q_proj',
      'model.layers.0.self_attn.q_proj.bias',
      'model.layers.0.mlp.up_proj',
      'model.layers.2.mlp.up_proj',
      'model.layers.10.mlp.up_proj',
      'model.norm.weight',
      'lm_head.weight',
    ]);
  });
});
