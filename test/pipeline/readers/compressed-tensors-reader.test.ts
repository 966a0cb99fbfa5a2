// Plan: what the compressed-tensors format writes is read back to the same codes and written again to the same bytes, one
// scheme or several; damaged folders are refused with FormatError; config and weights must belong together.
import { describe, expect, it } from 'vitest';
import { gridOf } from '../../../src/core/describe-grid.js';
import type { AffineLinear, Grid } from '../../../src/core/quantized-linear.js';
import { compressedTensorsFormat } from '../../../src/export/formats/compressed-tensors.js';
import { createTextSource } from '../../../src/io/memory-source.js';
import { makeAffine } from '../../formats/affine-records.js';
import { fuzzFolder } from './fuzz-folder.js';
import type { Folder, Records } from './packed-folder.js';
import { bytesOfFile, openFolder, readAll, writeFolder } from './packed-folder.js';

const Q = 'model.layers.0.self_attn.q_proj';
const DOWN = 'model.layers.0.mlp.down_proj';

const SYMMETRIC: Records = new Map([
  [Q, makeAffine({ n: 5, k: 32, bits: 4, groupSize: 16, symmetric: true }, 1)],
  [DOWN, makeAffine({ n: 9, k: 48, bits: 4, groupSize: 16, symmetric: true, signed: true }, 2)],
]);
const CHANNELS: Records = new Map([
  [Q, makeAffine({ n: 5, k: 32, bits: 8, groupSize: 32, symmetric: true }, 3)],
  [DOWN, makeAffine({ n: 9, k: 48, bits: 8, groupSize: 48, symmetric: true }, 4)],
]);
const MIXED: Records = new Map([
  [Q, makeAffine({ n: 5, k: 32, bits: 8, groupSize: 32, symmetric: true }, 5)],
  [
    DOWN,
    {
      ...makeAffine({ n: 9, k: 48, bits: 4, groupSize: 16 }, 6),
      scales: new Float32Array(27).fill(2 ** -30),
    },
  ],
  [
    'lm_head',
    { ...makeAffine({ n: 16, k: 32, bits: 4, groupSize: 32 }, 7), scales: new Float32Array(16).fill(0.1) },
  ],
]);

const format = compressedTensorsFormat();

async function withConfig(files: Folder, from: string, to: string): Promise<Folder> {
  const config = new TextDecoder().decode(await bytesOfFile(files, 'config.json'));
  expect(config).toContain(from);
  return new Map(files).set('config.json', createTextSource('config.json', config.replace(from, to)));
}

describe('a compressed-tensors folder', () => {
  it.each([
    ['symmetric groups', SYMMETRIC, { bits: 4, groupSize: 16, symmetric: true }],
    ['channels', CHANNELS, { bits: 8, groupSize: -1, symmetric: true }],
    [
      'several schemes and scale dtypes, the head too',
      MIXED,
      { bits: null, groupSize: null, symmetric: null },
    ],
  ])('of %s comes back as the same records, and as the same bytes', async (_, records, facts) => {
    const files = await writeFolder(format, records);
    const reader = await openFolder(files);
    expect(reader).toMatchObject({ format: 'compressed-tensors', ...facts });
    for (const [module, { outFeatures, inFeatures }] of records)
      expect(reader.shape(module)).toEqual([outFeatures, inFeatures]);
    const read = await readAll(reader);
    expect(read).toEqual(records);
    const again = await writeFolder(format, read);
    for (const name of ['model.safetensors', 'config.json'])
      expect(await bytesOfFile(again, name)).toEqual(await bytesOfFile(files, name));
  });

  it('stores zero points where the plan is asymmetric, whatever the codes turned out to be', async () => {
    const asymmetric = (record: AffineLinear): Grid => ({ ...gridOf(record), symmetric: false }) as Grid;
    const reader = await openFolder(await writeFolder(format, SYMMETRIC, asymmetric));
    expect(reader.symmetric).toBe(false);
    expect(reader.packing.has(`${Q}.weight_zero_point`)).toBe(true);
    expect(await readAll(reader)).toEqual(SYMMETRIC);
    // Words, scales, one word of zero points per group, weight_shape.
    const bits = (5 * 4 * 32 + 5 * 2 * 16 + 2 * 32 + 2 * 64) / (5 * 32);
    expect(reader.storedBits(Q)).toBeCloseTo(bits, 9);
  });

  it('whose config belongs to other weights is refused', async () => {
    const files = await writeFolder(format, SYMMETRIC);
    const opened = async (from: string, to: string): Promise<unknown> =>
      readAll(await openFolder(await withConfig(files, from, to)));
    await expect(opened('"group_size": 16', '"group_size": 8')).rejects.toThrow(
      /tensor "model.*weight_packed".*\n.*weight_scale/,
    );
    await expect(opened('"num_bits": 4', '"num_bits": 8')).rejects.toThrow(/model\.safetensors, tensor/);
    await expect(opened('"symmetric": true', '"symmetric": false')).rejects.toThrow(/no weight_zero_point/);
    await expect(opened('"lm_head"', '"re:.*down_proj"')).rejects.toThrow(
      /no config group targets them:\n.*down_proj/,
    );
    await expect(opened('"pack-quantized"', '"marlin-24"')).rejects.toThrow(
      /"pack-quantized" expected.*marlin-24/,
    );
  });

  it('damaged in any place is refused or read in order', async () => {
    const counts = await fuzzFolder(await writeFolder(format, MIXED), 400, 9000);
    expect(counts.refused).toBeGreaterThan(150);
    expect(counts.read).toBeGreaterThan(10);
  });
});
