// Plan: the settings have the keys every release knows and no others; schemes, targets and ignore lists for one scheme and
// several; every reason for which a grid cannot be held is told.
import { describe, expect, it } from 'vitest';
import type { Grid } from '../../../src/core/quantized-linear.js';
import { compressedTensorsConfig } from '../../../src/export/formats/compressed-tensors-config.js';
import { compressedTensorsFormat } from '../../../src/export/formats/compressed-tensors.js';
import type { ModelToWrite } from '../../../src/export/output-format.js';
import { parsePackedConfig } from '../../../src/formats/compressed-tensors/compressed-tensors-config.js';
import { modelToWrite } from '../model-to-write.js';

const GRID = {
  kind: 'affine',
  bits: 4,
  groupSize: 32,
  symmetric: true,
  signed: false,
  reordered: false,
  scaleDType: 'F16',
} as const;
const UP = 'model.layers.0.mlp.up_proj';
const DOWN = 'model.layers.0.mlp.down_proj';
const format = compressedTensorsFormat();

function withGrids(
  grids: Readonly<Record<string, Partial<Extract<Grid, { kind: 'affine' | 'affine-min' }>>>>,
): ModelToWrite {
  const model = modelToWrite({ linears: Object.keys(grids), grid: GRID });
  const items = model.items.map((item) =>
    item.kind === 'linear'
      ? { ...item, linear: { ...item.linear, grid: { ...GRID, ...grids[item.linear.name] } } }
      : item,
  );
  return { ...model, items };
}

describe('settings', () => {
  it('of one scheme target all linears but those left alone', () => {
    const model = modelToWrite({ linears: [UP], grid: GRID, skipped: [DOWN] });
    expect(compressedTensorsConfig(model)).toEqual({
      quant_method: 'compressed-tensors',
      format: 'pack-quantized',
      quantization_status: 'compressed',
      config_groups: {
        group_0: {
          targets: ['Linear'],
          weights: {
            num_bits: 4,
            type: 'int',
            symmetric: true,
            strategy: 'group',
            group_size: 32,
            dynamic: false,
          },
          input_activations: null,
          output_activations: null,
        },
      },
      ignore: [DOWN, 'lm_head'],
    });
  });

  it('name act-order with static groups, which changes nothing on disk', () => {
    const model = modelToWrite({ linears: [UP], grid: GRID, settings: { method: 'gptq', order: 'act' } });
    expect(JSON.stringify(compressedTensorsConfig(model))).toContain('"actorder":"weight"');
  });

  it('one group per row is strategy channel, unless others use that group size', () => {
    const channel = compressedTensorsConfig(withGrids({ [UP]: { groupSize: 64 } }));
    expect(JSON.stringify(channel)).toContain('"strategy":"channel"');
    const model = withGrids({ [UP]: { groupSize: 64 }, [DOWN]: { groupSize: 64 } });
    const items = model.items.map((item, i) =>
      item.kind === 'linear' && i === 1 ? { ...item, linear: { ...item.linear, inFeatures: 128 } } : item,
    );
    const shared = JSON.stringify(compressedTensorsConfig({ ...model, items }));
    expect(shared).not.toContain('channel');
    expect(shared).toContain('"group_size":64');
  });

  it('of several schemes name their modules, and our own parser finds them', () => {
    const model = withGrids({ [UP]: {}, [DOWN]: { bits: 8, groupSize: 64 }, lm_head: { symmetric: false } });
    const config = compressedTensorsConfig(model);
    expect(config.ignore).toEqual([]);
    const { schemeOf } = parsePackedConfig(config, 'config.json');
    expect(schemeOf(UP)).toEqual({ bits: 4, groupSize: 32, symmetric: true });
    expect(schemeOf(DOWN)).toEqual({ bits: 8, groupSize: -1, symmetric: true });
    expect(schemeOf('lm_head')).toEqual({ bits: 4, groupSize: 32, symmetric: false });
    expect(schemeOf('model.layers.1.mlp.up_proj')).toBeUndefined();
  });
});

describe('problems', () => {
  const shape = { outFeatures: 63, inFeatures: 64 };

  it('are none for 4 and 8 bits, any rows, any scale dtype', () => {
    expect(format.problems(GRID, shape)).toEqual([]);
    expect(
      format.problems({ ...GRID, bits: 8, groupSize: 4, symmetric: false, scaleDType: 'F32' }, shape),
    ).toEqual([]);
  });

  it('are all told', () => {
    expect(format.problems({ ...GRID, bits: 3, reordered: true }, shape)).toEqual([
      expect.stringMatching(/4 and 8 bits.*packing 3: gptq holds/),
      expect.stringMatching(/no longer loads act-order.*static groups, or write gptq/),
    ]);
    expect(format.problems({ ...GRID, groupSize: 12 }, { outFeatures: 8, inFeatures: 60 })).toEqual([
      expect.stringMatching(/in_features 60 is not a multiple of 8/),
    ]);
    const nf4: Grid = { kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: false };
    expect(format.problems(nf4, shape)[0]).toMatch(/not nf4 in blocks of 64: bitsandbytes holds/);
  });
});

it('notes what loaders do differently', async () => {
  const notes = async (model: ModelToWrite): Promise<string> => (await format.plan(model)).notes.join('\n');
  expect(await notes(withGrids({ [UP]: { scaleDType: 'BF16' } }))).toBe('');
  expect(await notes(withGrids({ [UP]: {} }))).toMatch(/^a loader that runs in bfloat16 rounds/);
  expect(await notes(withGrids({ [UP]: { symmetric: false }, [DOWN]: { bits: 8 } }))).toMatch(
    /dequantize=True[^]*several schemes/,
  );
});
