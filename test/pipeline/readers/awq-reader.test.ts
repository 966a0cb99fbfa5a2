// Plan: what the awq format writes is read back to the same codes and written again to the same bytes; damaged folders are
// refused with FormatError, never read beyond their bounds; missing parts are all listed.
import { describe, expect, it } from 'vitest';
import { awqFormat } from '../../../src/export/formats/awq.js';
import { createTextSource } from '../../../src/io/memory-source.js';
import { makeAffine } from '../../formats/affine-records.js';
import { fuzzFolder } from './fuzz-folder.js';
import { bytesOfFile, openFolder, readAll, writeFolder } from './packed-folder.js';

const RECORDS = new Map([
  ['model.layers.0.self_attn.q_proj', makeAffine({ n: 16, k: 32, bits: 4, groupSize: 16 }, 1)],
  ['model.layers.0.mlp.down_proj', makeAffine({ n: 24, k: 48, bits: 4, groupSize: 16, signed: true }, 2)],
]);

describe('an AWQ folder', () => {
  it('comes back as the same records, and as the same bytes', async () => {
    const files = await writeFolder(awqFormat(), RECORDS);
    const reader = await openFolder(files);
    expect(reader).toMatchObject({ format: 'awq', bits: 4, groupSize: 16 });
    expect(reader.shape('model.layers.0.mlp.down_proj')).toEqual([24, 48]);
    expect(reader.storedBits('model.layers.0.mlp.down_proj')).toBeCloseTo(4 + (16 + 4) / 16, 9);
    expect(reader.packing.size).toBe(6);
    const records = await readAll(reader);
    expect(records).toEqual(RECORDS);
    const again = await writeFolder(awqFormat(), records);
    for (const name of ['model.safetensors', 'config.json'])
      expect(await bytesOfFile(again, name)).toEqual(await bytesOfFile(files, name));
  });

  it('per channel says group size −1', async () => {
    const records = new Map(
      [...RECORDS].map(([name, { inFeatures: k }]) => [
        name,
        makeAffine({ n: 8, k, bits: 4, groupSize: k }, k),
      ]),
    );
    const reader = await openFolder(await writeFolder(awqFormat(), records));
    expect(reader.groupSize).toBe(-1);
    expect(await readAll(reader)).toEqual(records);
  });

  it('with other settings than its weights is refused, whichever they are', async () => {
    const files = await writeFolder(awqFormat(), RECORDS);
    const config = new TextDecoder().decode(await bytesOfFile(files, 'config.json'));
    const opened = (from: string, to: string) => async () =>
      readAll(
        await openFolder(
          new Map(files).set('config.json', createTextSource('config.json', config.replace(from, to))),
        ),
      );
    await expect(opened('"group_size": 16', '"group_size": 32')()).rejects.toThrow(
      /model\.safetensors, tensor "model.*qweight"/,
    );
    await expect(opened('"bits": 4', '"bits": 8')()).rejects.toThrow(
      /config\.json: AWQ settings.*\n.*bits: 4 expected/,
    );
    await expect(opened('"version": "gemm"', '"version": "gemv"')()).rejects.toThrow(
      /version: "gemm" expected/,
    );
  });

  it('damaged in any place is refused or read in order', async () => {
    const counts = await fuzzFolder(await writeFolder(awqFormat(), RECORDS), 400, 7000);
    expect(counts.refused).toBeGreaterThan(150);
    expect(counts.read).toBeGreaterThan(10);
  });
});
