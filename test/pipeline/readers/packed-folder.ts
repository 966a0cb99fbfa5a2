/** Records written by a folder format into memory, and the reader that importing such a folder opens. */
import { gridOf } from '../../../src/core/describe-grid.js';
import type { AffineLinear, Grid } from '../../../src/core/quantized-linear.js';
import type { ModelToWrite, OutputFormat } from '../../../src/export/output-format.js';
import { openCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import { readJsonObject } from '../../../src/io/json.js';
import { createMemoryFolder } from '../../../src/io/memory-folder.js';
import type { QuantizedReader } from '../../../src/pipeline/quantized-reader.js';
import { openQuantizedReader } from '../../../src/pipeline/readers/index.js';
import { modelToWrite } from '../../export/model-to-write.js';

export type Records = ReadonlyMap<string, AffineLinear>;
export type Folder = ReadonlyMap<string, ByteSource>;

/** `grid` replaces what the records themselves say, as a planner would that knows settings only. */
export async function writeFolder(
  format: OutputFormat,
  records: Records,
  grid: (record: AffineLinear) => Grid = gridOf,
): Promise<Folder> {
  const items = [...records].map(([name, record]) => {
    const { outFeatures, inFeatures } = record;
    const linear = { name, outFeatures, inFeatures, grid: grid(record), sourceDType: 'BF16' } as const;
    return { kind: 'linear', linear } as const;
  });
  const model: ModelToWrite = { ...modelToWrite({ linears: [], grid: items[0].linear.grid }), items };
  const folder = createMemoryFolder();
  const writer = await (await format.plan(model)).open(folder);
  for (const [name, record] of records) await writer.linear(name, record);
  await writer.finish();
  await folder.commit();
  return folder.files;
}

export async function openFolder(files: Folder): Promise<QuantizedReader> {
  const config = files.get('config.json');
  if (config === undefined) throw new Error('no config.json');
  const reader = await openQuantizedReader(
    await readJsonObject(config),
    await openCheckpoint(files),
    'config.json',
  );
  if (reader === undefined) throw new Error('the folder is not quantized');
  return reader;
}

export async function readAll(reader: QuantizedReader): Promise<Records> {
  const records = new Map<string, AffineLinear>();
  for (const module of reader.modules) {
    const record = await reader.read(module);
    if (record.kind !== 'affine') throw new Error(`${module} is ${record.kind}`);
    records.set(module, record);
  }
  return records;
}

export async function bytesOfFile(files: Folder, name: string): Promise<Uint8Array> {
  const source = files.get(name);
  if (source === undefined) throw new Error(`no ${name}`);
  return source.read(0, source.size);
}
