import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { createMemorySource } from '../../src/io/memory-source.js';
import { tiny } from './run-cli.js';

type Json = Record<string, unknown>;

/** A copy of a tiny checkpoint that a test may damage. */
export function copyModel(folder: string, name: string, from = 'llama'): string {
  const path = join(folder, name);
  cpSync(tiny(from), path, { recursive: true });
  rmSync(join(path, 'expected.safetensors'), { force: true });
  return path;
}

export function editJson(path: string, edit: (json: Json) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Json;
  edit(json);
  writeFileSync(path, JSON.stringify(json));
}

/** Edits the header of a safetensors file, keeping the data behind it. */
export function editHeader(path: string, edit: (header: Json) => void): void {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Json;
  edit(header);
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([prefix, text, bytes.subarray(8 + length)]));
}

/** Overwrites one 16-bit element of a tensor. */
export function pokeElement(path: string, tensor: string, index: number, bits: number): void {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  bytes.writeUInt16LE(bits, 8 + length + header[tensor].data_offsets[0] + index * 2);
  writeFileSync(path, bytes);
}

/** Rewrites model.safetensors as several shards with an index. */
export async function shardModel(model: string, maxShardBytes: number): Promise<void> {
  const single = join(model, 'model.safetensors');
  const source = createMemorySource(single, new Uint8Array(readFileSync(single)));
  const checkpoint = await openCheckpoint(new Map([['model.safetensors', source]]));
  const plan = planShards([...checkpoint.tensors.values()], { maxShardBytes });
  const memory = createMemoryFolder();
  await writeShards(plan, memory, (name) => checkpoint.read(name));
  await memory.commit();
  mkdirSync(model, { recursive: true });
  for (const [name, file] of memory.files) writeFileSync(join(model, name), await file.read(0, file.size));
  rmSync(single);
}
