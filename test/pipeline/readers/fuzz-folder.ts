/** Flips and cuts the bytes of a small folder: each result must be a FormatError or a valid record. */
import { FormatError } from '../../../src/core/errors.js';
import { createRng } from '../../../src/core/rng.js';
import { createMemorySource } from '../../../src/io/memory-source.js';
import { expectValid } from '../../formats/affine-records.js';
import type { Folder } from './packed-folder.js';
import { bytesOfFile, openFolder, readAll } from './packed-folder.js';

export interface FuzzCounts {
  refused: number;
  read: number;
}

/** Anything else than a FormatError is thrown on, the seed in its message. */
export async function fuzzFolder(files: Folder, tries: number, seed: number): Promise<FuzzCounts> {
  const counts: FuzzCounts = { refused: 0, read: 0 };
  const names = ['model.safetensors', 'config.json'];
  for (let i = 0; i < tries; i++) {
    const rng = createRng(seed + i);
    const name = names[rng.int(4) === 0 ? 1 : 0];
    const damaged = damage(await bytesOfFile(files, name), rng);
    const changed = new Map(files).set(name, createMemorySource(name, damaged));
    try {
      for (const record of (await readAll(await openFolder(changed))).values()) expectValid(record);
      counts.read += 1;
    } catch (error) {
      if (!(error instanceof FormatError) && !isUnknownMethod(error))
        throw new Error(`seed ${seed + i} of ${name}`, { cause: error });
      counts.refused += 1;
    }
  }
  return counts;
}

/** A damaged quant_method is another method, and the person is told so. */
function isUnknownMethod(error: unknown): boolean {
  return error instanceof Error && /cannot be read; |the folder is not quantized/.test(error.message);
}

function damage(bytes: Uint8Array, rng: ReturnType<typeof createRng>): Uint8Array {
  const copy = bytes.slice();
  switch (rng.int(3)) {
    case 0:
      return copy.subarray(0, rng.int(copy.length));
    case 1:
      // Headers are a small part of a file, and where the interesting lies are told.
      for (let i = 0; i <= rng.int(3); i++) copy[rng.int(Math.min(copy.length, 900))] ^= 1 << rng.int(8);
      return copy;
    default:
      for (let i = 0; i <= rng.int(8); i++) copy[rng.int(copy.length)] = rng.int(256);
      return copy;
  }
}
