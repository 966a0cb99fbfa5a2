import { describe, expect, it } from 'vitest';
import { packCodes } from '../../../src/core/code-stream.js';
import { roundToF16 } from '../../../src/core/dtype.js';
import { FormatError, HalfbyteError } from '../../../src/core/errors.js';
import type { AffineLinear, Grid, QuantizedLinear } from '../../../src/core/quantized-linear.js';
import { createRng } from '../../../src/core/rng.js';
import { mlxFormat } from '../../../src/export/formats/mlx.js';
import type { ModelItem } from '../../../src/export/output-format.js';
import { openCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import type { JsonObject } from '../../../src/io/json.js';
import { parseJson, readText } from '../../../src/io/json.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { createMemorySource } from '../../../src/io/memory-source.js';
import type { QuantizedReader } from '../../../src/pipeline/quantized-reader.js';
import { openMlxReader } from '../../../src/pipeline/readers/mlx-reader.js';
import { modelToWrite } from '../../export/model-to-write.js';

interface Linear {
  readonly name: string;
  readonly bits: 2 | 3 | 4 | 6;
  readonly groupSize: 32 | 64;
  readonly symmetric: boolean;
}

const LINEARS: readonly Linear[] = [
  { name: 'model.layers.0.q', bits: 4, groupSize: 64, symmetric: true },
  { name: 'model.layers.0.k', bits: 4, groupSize: 64, symmetric: false },
  { name: 'model.layers.0.v', bits: 6, groupSize: 32, symmetric: true },
  { name: 'model.layers.1.q', bits: 3, groupSize: 64, symmetric: false },
];
const OUT = 7;
const IN = 128;

function record({ bits, groupSize, symmetric }: Linear): AffineLinear {
  const rng = createRng(bits * 100 + groupSize);
  const cells = (OUT * IN) / groupSize;
  return {
    kind: 'affine',
    bits,
    groupSize,
    outFeatures: OUT,
    inFeatures: IN,
    codes: packCodes(
      Uint8Array.from({ length: OUT * IN }, () => rng.int(2 ** bits)),
      bits,
    ),
    scales: Float32Array.from({ length: cells }, () => roundToF16(0.01 + rng.next())),
    zeros: Uint8Array.from({ length: cells }, () => (symmetric ? 2 ** (bits - 1) : rng.int(2 ** bits))),
    groupOf: Uint32Array.from({ length: IN }, (_, k) => Math.floor(k / groupSize)),
  };
}

function gridFor({ bits, groupSize, symmetric }: Linear): Grid {
  const flags = { signed: false, reordered: false } as const;
  return { kind: 'affine', bits, groupSize, symmetric, ...flags, scaleDType: 'F16' };
}

type Files = ReadonlyMap<string, ByteSource>;

async function write(records: ReadonlyMap<string, QuantizedLinear>): Promise<Files> {
  const model = modelToWrite({ linears: [], grid: gridFor(LINEARS[0]) });
  const items = LINEARS.map((linear): ModelItem => {
    const { name } = linear;
    const shape = { outFeatures: OUT, inFeatures: IN };
    return { kind: 'linear', linear: { name, ...shape, grid: gridFor(linear), sourceDType: 'BF16' } };
  });
  const folder = createMemoryFolder();
  const writer = await (await mlxFormat().plan({ ...model, items })).open(folder);
  for (const [name, linear] of records) await writer.linear(name, linear);
  await writer.finish();
  await folder.commit();
  return folder.files;
}

const RECORDS = new Map(LINEARS.map((linear) => [linear.name, record(linear)]));

function fileOf(files: Files, name: string): ByteSource {
  const file = files.get(name);
  if (file === undefined) throw new Error(`no ${name}`);
  return file;
}

async function openReader(files: Files, changes: JsonObject = {}): Promise<QuantizedReader> {
  const config = parseJson(await readText(fileOf(files, 'config.json')), 'config.json') as JsonObject;
  const quantization = { ...(config.quantization as JsonObject), ...changes };
  return openMlxReader({ ...config, quantization }, await openCheckpoint(files), 'config.json');
}

describe('openMlxReader', () => {
  it('reads what was written, and writes the same bytes again', async () => {
    const files = await write(RECORDS);
    const reader = await openReader(files);
    expect([...reader.modules].sort()).toEqual(LINEARS.map(({ name }) => name).sort());
    expect(reader).toMatchObject({ format: 'mlx', bits: null, groupSize: null, symmetric: null });
    const again = new Map<string, QuantizedLinear>();
    for (const { name, bits, groupSize, symmetric } of LINEARS) {
      expect(reader.shape(name)).toEqual([OUT, IN]);
      expect(reader.storedBits(name)).toBe(bits + (symmetric ? 32 : 64) / groupSize);
      const linear = await reader.read(name);
      expect(linear).toEqual(RECORDS.get(name));
      again.set(name, linear);
    }
    const rewritten = await write(again);
    for (const [name, file] of files) {
      const other = fileOf(rewritten, name);
      expect(await other.read(0, other.size)).toEqual(await file.read(0, file.size));
    }
  });

  it('refuses settings and weights that contradict each other', async () => {
    const files = await write(RECORDS);
    await expect(openReader(files, { 'model.layers.0.q': false })).rejects.toThrow(/said to stay dense/);
    await expect(openReader(files, { mode: 'mxfp4' })).rejects.toThrow(/affine/);
    const wrong = await openReader(files, { 'model.layers.0.q': { bits: 8 } });
    expect(() => wrong.shape('model.layers.0.q')).toThrow(FormatError);
    await expect(wrong.read('model.layers.0.q')).rejects.toThrow(FormatError);
    await expect(wrong.read('model.layers.0.k')).resolves.toBeDefined();
    // A module of which there is no trace, such as a vision tower left out, is nobody's problem.
    await expect(openReader(files, { 'vision.proj': { bits: 8 } })).resolves.toBeDefined();
  });

  it('ends in a record or an error of ours, whatever the damage', async () => {
    const files = await write(RECORDS);
    const file = fileOf(files, 'model.safetensors');
    const sound = await file.read(0, file.size);
    const rng = createRng(41);
    const outcomes = { read: 0, refused: 0 };
    for (let round = 0; round < 300; round++) {
      let bytes = sound.slice();
      if (round % 4 === 0) bytes = bytes.subarray(0, rng.int(bytes.length));
      // The first kilobyte is the header, where damage says most.
      else for (let i = 0; i < 3; i++) bytes[rng.int(i === 0 ? 1024 : bytes.length)] ^= 1 << rng.int(8);
      const damaged = new Map([
        ...files,
        ['model.safetensors', createMemorySource('model.safetensors', bytes)],
      ]);
      try {
        const reader = await openReader(damaged);
        for (const module of reader.modules) {
          reader.shape(module);
          const linear = await reader.read(module);
          if (linear.kind !== 'affine' && linear.kind !== 'affine-min') throw new Error(linear.kind);
          if (!linear.scales.every(Number.isFinite)) throw new Error('scales that are not finite');
        }
        outcomes.read++;
      } catch (error) {
        if (!(error instanceof HalfbyteError)) throw error;
        expect(error.message).toMatch(/safetensors|config\.json/);
        outcomes.refused++;
      }
    }
    expect(outcomes.refused).toBeGreaterThan(150);
    expect(outcomes.read).toBeGreaterThan(0);
  });
});
