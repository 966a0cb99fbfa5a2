/**
 * Our half of the safetensors conformance check: reads a checkpoint that Python wrote, prints what it found as JSON, and
 * writes it again with our writer, as one file and in shards.
 *
 * node --import tsx scripts/conformance/safetensors-roundtrip.ts IN OUT [MAX_SHARD_BYTES]
 *   IN    a .safetensors file or a folder with shards and index
 *   OUT   a folder that must not exist; gets OUT/single and OUT/sharded (default limit: a third of the tensor bytes)
 *   stdout {"metadata": {…}, "tensors": {name: {dtype, shape, sha256}}, "single": [files], "sharded": [files]}
 */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Checkpoint } from '../../src/formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { writeOutputFolder } from '../../src/io/output-folder.js';
import { openFileSource } from '../../src/platform/node/files/file-source.js';
import { createOutputFolder } from '../../src/platform/node/files/output-folder.js';

/** Small on purpose: a window that cuts tensors in the middle is part of what is checked. */
const WINDOW_BYTES = 1000;

async function openSources(input: string): Promise<Map<string, ByteSource>> {
  const isFolder = (await stat(input)).isDirectory();
  const paths = isFolder ? (await readdir(input)).map((name) => join(input, name)) : [input];
  const sources = new Map<string, ByteSource>();
  for (const path of paths.filter((candidate) => /\.safetensors(\.index\.json)?$/.test(candidate))) {
    sources.set(basename(path), await openFileSource(path));
  }
  return sources;
}

async function describeTensors(checkpoint: Checkpoint): Promise<Record<string, unknown>> {
  const entries: [string, unknown][] = [];
  for (const { name, dtype, shape } of checkpoint.tensors.values()) {
    const sha256 = createHash('sha256');
    for await (const chunk of checkpoint.stream(name, { windowBytes: WINDOW_BYTES })) sha256.update(chunk);
    entries.push([name, { dtype, shape, sha256: sha256.digest('hex') }]);
  }
  return Object.fromEntries(entries);
}

async function rewrite(checkpoint: Checkpoint, target: string, maxShardBytes: number): Promise<string[]> {
  const plan = planShards([...checkpoint.tensors.values()], {
    maxShardBytes,
    metadata: Object.fromEntries(checkpoint.metadata),
  });
  const folder = await createOutputFolder(target, { expectedBytes: plan.fileBytes });
  await writeOutputFolder(folder, () =>
    writeShards(plan, folder, (name) => checkpoint.stream(name, { windowBytes: WINDOW_BYTES })),
  );
  return [...plan.shards.map((shard) => shard.file), ...(plan.index === undefined ? [] : [plan.index.file])];
}

const [input, output, limit] = process.argv.slice(2);
if (input === undefined || output === undefined) {
  process.stderr.write('usage: safetensors-roundtrip.ts IN OUT [MAX_SHARD_BYTES]\n');
  process.exit(2);
}
const checkpoint = await openCheckpoint(await openSources(input));
const totalBytes = [...checkpoint.tensors.values()].reduce((total, info) => total + info.end - info.begin, 0);
const report = {
  metadata: Object.fromEntries(checkpoint.metadata),
  tensors: await describeTensors(checkpoint),
  single: await rewrite(checkpoint, join(output, 'single'), Number.MAX_SAFE_INTEGER),
  sharded: await rewrite(
    checkpoint,
    join(output, 'sharded'),
    Number(limit ?? Math.max(1, Math.ceil(totalBytes / 3))),
  ),
};
process.stdout.write(`${JSON.stringify(report, null, 1)}\n`);
