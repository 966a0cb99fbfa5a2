import { describe, expect, it } from 'vitest';
import type { Grid } from '../../../src/core/quantized-linear.js';
import {
  commonGroupSize,
  gptqQuantizationConfig,
  partlySkippedNames,
} from '../../../src/export/formats/gptq-config.js';
import { gptqFormat, gptqTensors } from '../../../src/export/formats/gptq.js';
import { modelToWrite } from '../model-to-write.js';

type Affine = Extract<Grid, { kind: 'affine' | 'affine-min' }>;
const GRID: Affine = {
  kind: 'affine',
  bits: 4,
  groupSize: 32,
  symmetric: true,
  signed: false,
  reordered: false,
  scaleDType: 'F16',
};
const LINEARS = ['model.layers.0.mlp.up_proj', 'model.layers.1.mlp.up_proj', 'model.layers.1.mlp.down_proj'];
const plan = (grid: Partial<Affine>, skipped: string[] = []) =>
  modelToWrite({ linears: LINEARS, grid: { ...GRID, ...grid }, skipped });

describe('gptqQuantizationConfig', () => {
  it('writes what AutoGPTQ, GPTQModel, transformers and vLLM all accept', () => {
    const config = gptqQuantizationConfig(plan({}), 'gptq');
    expect(config).toMatchObject({
      quant_method: 'gptq',
      checkpoint_format: 'gptq',
      bits: 4,
      group_size: 32,
      desc_act: false,
      sym: true,
      lm_head: false,
      damp_percent: 0.01,
    });
    expect(config).not.toHaveProperty('dynamic');
    expect(config).not.toHaveProperty('modules_in_block_to_quantize');
  });

  it('says the version under both spellings, and desc_act only where g_idx is not trivial', () => {
    expect(gptqQuantizationConfig(plan({ symmetric: false, reordered: true }), 'gptq_v2')).toMatchObject({
      sym: false,
      checkpoint_format: 'gptq_v2',
      format: 'gptq_v2',
      desc_act: true,
    });
  });

  it('tells both families of loaders what was skipped', () => {
    const skipped = ['model.layers.0.mlp.down_proj'];
    const written = gptqQuantizationConfig(plan({}, skipped), 'gptq');
    expect(written.modules_in_block_to_quantize).toEqual([['mlp.up_proj']]);
    expect(written.dynamic).toEqual({ '-:^model\\.layers\\.0\\.mlp\\.down_proj$': {} });
    expect(partlySkippedNames(['model.layers.1.mlp.down_proj'], skipped)).toEqual(['mlp.down_proj']);
    expect(partlySkippedNames(['model.layers.1.mlp.up_proj'], skipped)).toEqual([]);
  });

  it('finds the group size all linears share, one per channel included', () => {
    expect(commonGroupSize(plan({}))).toBe(32);
    const perChannel = modelToWrite({
      linears: LINEARS,
      grid: { ...GRID, groupSize: 64 },
      settings: { groupSize: -1 },
    });
    expect(commonGroupSize(perChannel)).toBe(-1);
    expect(commonGroupSize(plan({ groupSize: 64 }))).toBe(64);
  });
});

describe('gptqFormat', () => {
  const problems = (grid: Partial<Affine>, outFeatures = 64, inFeatures = 64) =>
    gptqFormat('gptq').problems({ ...GRID, ...grid }, { outFeatures, inFeatures });

  it('gives the shapes of the four tensors', () => {
    const linear = { name: 'up', outFeatures: 96, inFeatures: 64, sourceDType: 'BF16' as const };
    expect(gptqTensors({ ...linear, grid: { ...GRID, bits: 3 } })).toEqual([
      { name: 'up.qweight', dtype: 'I32', shape: [6, 96] },
      { name: 'up.qzeros', dtype: 'I32', shape: [2, 9] },
      { name: 'up.scales', dtype: 'F16', shape: [2, 96] },
      { name: 'up.g_idx', dtype: 'I32', shape: [64] },
    ]);
  });

  it('holds what it can hold and gives every reason for what it cannot', () => {
    expect(problems({})).toEqual([]);
    expect(problems({ reordered: true, bits: 3 })).toEqual([]);
    expect(problems({ symmetric: false })).toEqual([expect.stringContaining('use gptq_v2')]);
    expect(problems({ bits: 5, scaleDType: 'F32' }, 40, 80)).toHaveLength(4);
    const nf4: Grid = { kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: true };
    expect(gptqFormat('gptq').problems(nf4, { outFeatures: 64, inFeatures: 64 })).toEqual([
      expect.stringContaining('bitsandbytes'),
    ]);
  });
});
