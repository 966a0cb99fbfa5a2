// Plan: a file source delivers exact ranges also beyond 4 GiB, and notices missing, truncated and changed files.
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FormatError, UserError } from '../../../src/core/errors.js';
import { openCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { planShards } from '../../../src/formats/safetensors/shard-plan.js';
import { openFileSource } from '../../../src/platform/node/files/file-source.js';

let root: string;
let path: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'halfbyte-source-'));
  path = join(root, 'model.safetensors');
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

describe('openFileSource', () => {
  it('reads exact ranges', async () => {
    const bytes = Uint8Array.from({ length: 1009 }, (_, i) => i & 0xff);
    writeFileSync(path, bytes);
    const source = await openFileSource(path);
    expect(source.size).toBe(1009);
    expect(await source.read(1000, 9)).toEqual(bytes.slice(1000));
    expect(await source.read(0, 0)).toEqual(new Uint8Array(0));
    await expect(source.read(1000, 10)).rejects.toThrow(FormatError);
  });

  it('refuses missing files and folders', async () => {
    await expect(openFileSource(join(root, 'absent'))).rejects.toThrow(UserError);
    await expect(openFileSource(root)).rejects.toThrow('not a file');
  });

  it('refuses to mix two versions of a file', async () => {
    writeFileSync(path, 'abcdef');
    const source = await openFileSource(path);
    appendFileSync(path, 'g');
    await expect(source.read(0, 3)).rejects.toThrow('changed or replaced');
    rmSync(path);
    await expect(source.read(0, 3)).rejects.toThrow(UserError);
  });
});

describe('a file of more than 4 GiB', () => {
  const BIG = 2 ** 32 + 12_345;

  function writeSparseFile(): void {
    const plan = planShards(
      [
        { name: 'big', dtype: 'U8', shape: [BIG] },
        { name: 'small', dtype: 'I32', shape: [3] },
      ],
      { maxShardBytes: 2 ** 40 },
    );
    writeFileSync(path, plan.shards[0].header);
    truncateSync(path, plan.shards[0].fileBytes);
    const [big, small] = plan.shards[0].tensors;
    const file = openSync(path, 'r+');
    writeSync(file, Uint8Array.of(7, 8, 9), 0, 3, big.end - 3);
    writeSync(file, new Uint8Array(Int32Array.of(11, -22, 33).buffer), 0, 12, small.begin);
    closeSync(file);
  }

  it('gives up its small tensor, and any range of the big one', async () => {
    writeSparseFile();
    const checkpoint = await openCheckpoint(new Map([['model.safetensors', await openFileSource(path)]]));
    expect(checkpoint.info('small').begin).toBeGreaterThan(2 ** 32);
    expect(new Int32Array((await checkpoint.read('small')).buffer as ArrayBuffer)).toEqual(
      Int32Array.of(11, -22, 33),
    );
    expect(await checkpoint.readRange('big', { offset: BIG - 5, length: 5 })).toEqual(
      Uint8Array.of(0, 0, 7, 8, 9),
    );
    for await (const chunk of checkpoint.stream('big', { windowBytes: 1000 })) {
      expect(chunk).toEqual(new Uint8Array(1000));
      break;
    }
  });

  it('is refused when it lacks one byte', async () => {
    writeSparseFile();
    truncateSync(path, (await openFileSource(path)).size - 1);
    await expect(
      openCheckpoint(new Map([['model.safetensors', await openFileSource(path)]])),
    ).rejects.toThrow('truncated');
  });
});
