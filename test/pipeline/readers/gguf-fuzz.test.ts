// Plan: thousands of damaged files (bits flipped, bytes changed, cut off) in header and data; each is refused with an error
// of ours or read as finite numbers of the declared shape, and no read goes beyond the file.
import { describe, expect, it } from 'vitest';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import { FormatError, UserError } from '../../../src/core/errors.js';
import { createRng } from '../../../src/core/rng.js';
import type { GgufFormatName } from '../../../src/export/gguf/gguf-targets.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import { createMemorySource } from '../../../src/io/memory-source.js';
import { openGguf } from '../../../src/pipeline/readers/gguf-reader.js';
import { openFixture, toWrite, writeToMemory } from '../../export/gguf-model.js';

type Rng = ReturnType<typeof createRng>;

function damage(bytes: Uint8Array, headerBytes: number, rng: Rng): Uint8Array {
  const copy = bytes.slice();
  switch (rng.int(4)) {
    case 0:
      return copy.subarray(0, rng.int(copy.length));
    case 1:
      for (let i = 0; i <= rng.int(3); i++) copy[rng.int(headerBytes)] ^= 1 << rng.int(8);
      return copy;
    case 2: {
      // A number of eight bytes that is far too big.
      copy.fill(rng.int(256), rng.int(headerBytes), rng.int(headerBytes));
      return copy;
    }
    default:
      for (let i = 0; i <= rng.int(8); i++) copy[rng.int(copy.length)] = rng.int(256);
      return copy;
  }
}

/** Fails on anything but numbers of the right count; codes and scales of blocks are checked for being finite. */
async function readEverything(source: ByteSource): Promise<void> {
  const model = await openGguf(new Map([['model.gguf', source]]));
  if (model === undefined) throw new Error('a model expected');
  for (const { name, begin, end } of model.checkpoint.tensors.values())
    expect((await model.checkpoint.read(name)).byteLength).toBe(end - begin);
  for (const module of model.quantized?.modules ?? []) {
    const [outFeatures, inFeatures] = model.quantized?.shape(module) ?? [0, 0];
    const record = await model.quantized?.read(module);
    if (record === undefined) throw new Error('a record expected');
    const values = dequantizeLinear(record);
    expect(values.length).toBe(outFeatures * inFeatures);
    expect(values.every(Number.isFinite)).toBe(true);
  }
}

/** A source that fails the test when it is asked for what it does not have. */
function guarded(bytes: Uint8Array): ByteSource {
  const inner = createMemorySource('model.gguf', bytes);
  return {
    ...inner,
    read: (offset, length, signal) => {
      if (offset < 0 || offset + length > bytes.length)
        throw new Error(`read beyond the file: ${offset} + ${length}`);
      return inner.read(offset, length, signal);
    },
  };
}

const TRIES = 400;

describe('damaged files', () => {
  it.each<[string, GgufFormatName]>([
    ['llama-untied-llama3', 'gguf-q4_1'],
    ['qwen3', 'gguf-q8_0'],
    ['llama', 'gguf-q5_0'],
    ['qwen2', 'gguf-f16'],
  ])('tiny/%s as %s', async (fixture, format) => {
    const model = await openFixture(`tiny/${fixture}`);
    const { files } = await writeToMemory(model, format, toWrite(model, format));
    const source = files.get('model.gguf');
    if (source === undefined) throw new Error('model.gguf expected');
    const bytes = await source.read(0, source.size);
    await readEverything(guarded(bytes));
    const headerBytes = Buffer.from(bytes).lastIndexOf('output_norm.weight') + 64;
    const counts = { refused: 0, read: 0 };
    for (let seed = 0; seed < TRIES; seed++) {
      try {
        await readEverything(guarded(damage(bytes, headerBytes, createRng(seed))));
        counts.read += 1;
      } catch (error) {
        if (!(error instanceof FormatError) && !(error instanceof UserError))
          throw new Error(`seed ${seed} of ${fixture}`, { cause: error });
        counts.refused += 1;
      }
    }
    expect(counts.refused).toBeGreaterThan(TRIES / 4);
    expect(counts.read).toBeGreaterThan(TRIES / 20);
  });
});
