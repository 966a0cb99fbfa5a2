import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import { withHashes } from '../../src/export/hashing-folder.js';
import { createSha256 } from '../../src/export/sha256.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';

const native = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function randomBytes(count: number, seed: number): Uint8Array {
  const rng = createRng(seed);
  return Uint8Array.from({ length: count }, () => rng.int(256));
}

describe('createSha256', () => {
  it('gives the digest of FIPS 180-4 example "abc"', () => {
    const hasher = createSha256();
    hasher.update(new TextEncoder().encode('abc'));
    expect(hasher.digest()).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  // Around the block of 64 bytes and the 56 where the length no longer fits; cut in ragged chunks.
  for (const size of [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 70_001])
    it(`equals the native one for ${size} bytes in ragged chunks`, () => {
      const bytes = randomBytes(size, size + 1);
      const hasher = createSha256();
      for (let at = 0, step = 1; at < size; at += step, step = (step * 7 + 3) % 131)
        hasher.update(bytes.subarray(at, Math.min(size, at + step)));
      expect(hasher.digest()).toBe(native(bytes));
    });
});

describe('withHashes', () => {
  it('hashes what is written, by name, and only when sealed', async () => {
    const folder = withHashes(createMemoryFolder(), createSha256);
    const sink = await folder.create('a.bin');
    await sink.append(Uint8Array.of(1, 2));
    await sink.append(Uint8Array.of(3));
    expect(folder.sha256.size).toBe(0);
    await sink.seal();
    await folder.writeText('b.txt', 'héllo');
    expect(Object.fromEntries(folder.sha256)).toEqual({
      'a.bin': native(Uint8Array.of(1, 2, 3)),
      'b.txt': native(new TextEncoder().encode('héllo')),
    });
  });
});
