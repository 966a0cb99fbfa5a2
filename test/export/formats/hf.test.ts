import { describe, expect, it } from 'vitest';
import { castElements } from '../../../src/core/cast-elements.js';
import { packCodes } from '../../../src/core/code-stream.js';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import { FormatError } from '../../../src/core/errors.js';
import type { CodebookLinear, Grid, QuantizedLinear } from '../../../src/core/quantized-linear.js';
import { createRng } from '../../../src/core/rng.js';
import { hfFormat } from '../../../src/export/formats/hf.js';
import type { ModelToWrite } from '../../../src/export/output-format.js';
import type { Checkpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { bytesOf } from '../../../src/io/byte-views.js';
import { readText } from '../../../src/io/json.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import { modelToWrite } from '../model-to-write.js';

const NAME = 'model.layers.0.q';
const GRID: Grid = { kind: 'codebook', codebook: 'nf4', blockSize: 64, nested: false };
/** More rows than are expanded at a time, and blocks that run through row ends. */
const ROWS = 300;
const COLS = 72;

function record(): CodebookLinear {
  const rng = createRng(3);
  const count = ROWS * COLS;
  return {
    kind: 'codebook',
    codebook: 'nf4',
    outFeatures: ROWS,
    inFeatures: COLS,
    blockSize: 64,
    codes: Uint8Array.from({ length: count / 2 }, () => rng.int(256)),
    absmax: Float32Array.from({ length: Math.ceil(count / 64) }, () => 0.01 + rng.next()),
  };
}

async function write(
  linear: QuantizedLinear,
  changes: Partial<ModelToWrite>,
  sourceDType: 'BF16' | 'F16' | 'F32' | 'F8_E4M3' = 'BF16',
): Promise<{ checkpoint: Checkpoint; config: string }> {
  const model = modelToWrite({ linears: [], grid: GRID });
  const { outFeatures, inFeatures } = linear;
  const planned = { name: NAME, outFeatures, inFeatures, grid: GRID, sourceDType };
  const folder = createMemoryFolder();
  const plan = await hfFormat().plan({ ...model, ...changes, items: [{ kind: 'linear', linear: planned }] });
  const writer = await plan.open(folder);
  await writer.linear(NAME, linear);
  await writer.finish();
  await folder.commit();
  const file = folder.files.get('config.json');
  if (file === undefined) throw new Error('no config.json');
  return { checkpoint: await openCheckpoint(folder.files), config: await readText(file) };
}

const BASE = modelToWrite({ linears: [], grid: GRID });
const withDType = (key: string, dtype: string): Partial<ModelToWrite> => ({
  configJson: { ...BASE.configJson, [key]: dtype },
});

describe('hfFormat', () => {
  it.each([
    ['dtype', 'bfloat16', 'BF16', 'BF16'],
    ['dtype', 'float16', 'BF16', 'F16'],
    ['torch_dtype', 'float16', 'BF16', 'F16'],
    ['dtype', 'float32', 'BF16', 'F32'],
    ['dtype', 'bfloat16', 'F32', 'F32'],
    ['other', '', 'F16', 'F16'],
    ['other', '', 'F8_E4M3', 'BF16'],
  ] as const)('writes with %s %s of %s in %s', async (key, dtype, source, expected) => {
    const linear = record();
    const { checkpoint, config } = await write(linear, withDType(key, dtype), source);
    const info = checkpoint.info(`${NAME}.weight`);
    expect(info).toMatchObject({ dtype: expected, shape: [ROWS, COLS] });
    const values = castElements(bytesOf(dequantizeLinear(linear)), 'F32', expected);
    expect(await checkpoint.read(info.name)).toEqual(values);
    expect(config).toBe(BASE.configText);
    expect([...checkpoint.metadata]).toEqual([['format', 'pt']]);
  });

  it('holds every grid', () => {
    expect(hfFormat().problems(GRID, { outFeatures: 3, inFeatures: 5 })).toEqual([]);
  });

  it('leaves no word of quantization in config.json', async () => {
    const configJson = { ...BASE.configJson, quantization: { bits: 4 }, quantization_config: { bits: 4 } };
    const { config } = await write(record(), { configJson, configText: JSON.stringify(configJson) });
    expect(config).not.toContain('quantization');
    expect(JSON.parse(config)).toEqual(BASE.configJson);
  });

  it('refuses to turn big numbers into infinities', async () => {
    const linear: QuantizedLinear = {
      kind: 'affine',
      bits: 8,
      groupSize: 32,
      outFeatures: 1,
      inFeatures: 32,
      codes: packCodes(new Uint8Array(32).fill(255), 8),
      scales: Float32Array.of(600),
      zeros: Uint8Array.of(0),
      groupOf: new Uint32Array(32),
    };
    await expect(write(linear, withDType('dtype', 'float16'))).rejects.toThrow(FormatError);
    await expect(write(linear, withDType('dtype', 'bfloat16'))).resolves.toBeDefined();
    await expect(write(linear, withDType('dtype', 'float32'))).resolves.toBeDefined();
  });
});
