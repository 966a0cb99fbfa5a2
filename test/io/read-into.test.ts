import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.js';
import { readInto } from '../../src/io/byte-source.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { createMemorySource } from '../../src/io/memory-source.js';
import { openFileSource } from '../../src/platform/node/files/file-source.js';

// Plan: a target is filled wholly and nothing beside it, by sources that can and by those that cannot; ranges are checked.
const BYTES = Uint8Array.from({ length: 100 }, (_, i) => i);

async function withSources(body: (source: ByteSource) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'halfbyte-read-into-'));
  try {
    const path = join(folder, 'bytes');
    await writeFile(path, BYTES);
    await body(await openFileSource(path));
    await body(createMemorySource('memory', BYTES));
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('readInto', () => {
  it('fills the target and nothing else', () =>
    withSources(async (source) => {
      const room = new Uint8Array(20).fill(255);
      await readInto(source, 30, room.subarray(5, 15));
      expect(Array.from(room)).toEqual([
        ...Array<number>(5).fill(255),
        ...BYTES.slice(30, 40),
        ...Array<number>(5).fill(255),
      ]);
    }));

  it('refuses ranges that leave the source', () =>
    withSources(async (source) => {
      await expect(readInto(source, 95, new Uint8Array(6))).rejects.toThrow(FormatError);
    }));
});
