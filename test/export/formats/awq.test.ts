// Plan: the settings loaders read; every reason for which a grid or a model cannot be AWQ is told; sizes agree with tensors.
import { describe, expect, it } from 'vitest';
import { UserError } from '../../../src/core/errors.js';
import type { Grid } from '../../../src/core/quantized-linear.js';
import { awqFormat, awqQuantizationConfig } from '../../../src/export/formats/awq.js';
import type { ModelToWrite } from '../../../src/export/output-format.js';
import { modelToWrite } from '../model-to-write.js';

const GRID = {
  kind: 'affine',
  bits: 4,
  groupSize: 32,
  symmetric: false,
  signed: false,
  reordered: false,
  scaleDType: 'F16',
} as const;
const LINEARS = ['model.layers.0.mlp.up_proj', 'model.layers.0.mlp.down_proj'];
const format = awqFormat();

describe('settings', () => {
  it('are AutoAWQ’s', () => {
    const model = modelToWrite({ linears: LINEARS, grid: GRID });
    expect(awqQuantizationConfig(model)).toEqual({
      quant_method: 'awq',
      bits: 4,
      group_size: 32,
      zero_point: true,
      version: 'gemm',
      modules_to_not_convert: null,
    });
  });

  it('name what was skipped by whole paths', () => {
    const model = modelToWrite({ linears: LINEARS, grid: GRID, skipped: ['model.layers.1.mlp.up_proj'] });
    expect(awqQuantizationConfig(model).modules_to_not_convert).toEqual(['model.layers.1.mlp.up_proj']);
  });
});

describe('problems', () => {
  const shape = { outFeatures: 64, inFeatures: 64 };

  it('are none for 4-bit affine grids, signed scales included', () => {
    expect(format.problems(GRID, shape)).toEqual([]);
    expect(format.problems({ ...GRID, symmetric: true, signed: true, groupSize: 64 }, shape)).toEqual([]);
  });

  it('are all told', () => {
    const bad: Grid = { ...GRID, bits: 3, groupSize: 24, reordered: true, scaleDType: 'BF16' };
    expect(format.problems(bad, { outFeatures: 60, inFeatures: 64 })).toEqual([
      expect.stringMatching(/4 bits, not 3: gptq/),
      expect.stringMatching(/no g_idx/),
      expect.stringMatching(/float16 scales, these need BF16/),
      expect.stringMatching(/out_features 60/),
      expect.stringMatching(/group size 24 does not divide in_features 64/),
    ]);
    expect(format.problems({ ...GRID, kind: 'affine-min' }, shape)).toHaveLength(1);
    expect(format.problems({ kind: 'k-quant', type: 'q4_k' }, shape)[0]).toMatch(/not q4_k: .*gguf/);
  });
});

describe('a model', () => {
  const refused = (model: ModelToWrite): unknown => {
    try {
      void format.plan(model);
    } catch (error) {
      return error;
    }
    return undefined;
  };

  it('of several group sizes, or with a quantized head, is refused with both reasons', () => {
    const model = modelToWrite({ linears: [...LINEARS, 'lm_head'], grid: GRID });
    const items = model.items.map((item, i) =>
      item.kind === 'linear' && i === 0
        ? { ...item, linear: { ...item.linear, grid: { ...GRID, groupSize: 16 } } }
        : item,
    );
    const error = refused({ ...model, items });
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toMatch(/different group sizes.*\n.*lm_head is quantized/);
  });

  it('is planned with its size, and told what loaders do', async () => {
    const planned = await format.plan(modelToWrite({ linears: LINEARS, grid: GRID }));
    expect(planned.bitsPerWeight).toBeCloseTo(4 + (16 + 4) / 32, 9);
    expect(planned.notes).toEqual([expect.stringMatching(/float16/)]);
    const odd = await format.plan(modelToWrite({ linears: LINEARS, grid: { ...GRID, groupSize: 8 } }));
    expect(odd.notes.at(-1)).toMatch(/group size 8: transformers/);
  });
});
