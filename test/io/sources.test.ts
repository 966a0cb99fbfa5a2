// Plan: each source delivers exactly the bytes asked for or fails; streaming holds one window; read-ahead coalesces;
// retry repeats what is worth repeating and nothing else.
import { describe, expect, it } from 'vitest';
import { AbortError, FetchError, FormatError } from '../../src/core/errors.js';
import { createBlobSource } from '../../src/io/blob-source.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { bytesOf, concatBytes, viewBytes } from '../../src/io/byte-views.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { createMemorySource } from '../../src/io/memory-source.js';
import { writeOutputFolder } from '../../src/io/output-folder.js';
import { withReadAhead } from '../../src/io/read-ahead-source.js';
import { relativeNameProblem } from '../../src/io/relative-name.js';
import { retry, sleep, withRetry } from '../../src/io/retry.js';
import { streamChunks } from '../../src/io/stream-chunks.js';
import { countReads } from '../formats/safetensors-helpers.js';

const BYTES = Uint8Array.from({ length: 1009 }, (_, i) => (i * 31) & 0xff);
const sources: [string, () => ByteSource][] = [
  ['memory', () => createMemorySource('f', BYTES)],
  ['blob', () => createBlobSource('f', new Blob([BYTES]))],
  ['read-ahead', () => withReadAhead(createMemorySource('f', BYTES), 100)],
  ['retry', () => withRetry(createMemorySource('f', BYTES))],
];

describe.each(sources)('%s source', (_, make) => {
  it('delivers exact ranges, owned by the caller', async () => {
    const source = make();
    for (const [offset, length] of [
      [0, 1009],
      [0, 0],
      [1009, 0],
      [17, 100],
      [18, 99],
      [1000, 9],
      [3, 1],
    ]) {
      const bytes = await source.read(offset, length);
      expect(bytes).toEqual(BYTES.slice(offset, offset + length));
      bytes.fill(0);
    }
    expect(await source.read(17, 5)).toEqual(BYTES.slice(17, 22));
  });

  it.each([
    [1000, 10],
    [-1, 2],
    [0, -1],
    [0.5, 1],
    [NaN, 1],
    [2 ** 53, 1],
  ])('refuses offset %d, length %d', async (offset, length) => {
    await expect(make().read(offset, length)).rejects.toThrow(FormatError);
  });
});

describe('streamChunks', () => {
  it('reads window by window, only when asked', async () => {
    const source = countReads(createMemorySource('f', BYTES));
    const chunks: Uint8Array[] = [];
    for await (const chunk of streamChunks(source, 7, 1000, { windowBytes: 300 })) {
      chunks.push(chunk);
      expect(source.reads.length).toBe(chunks.length);
    }
    expect(chunks.map((c) => c.byteLength)).toEqual([300, 300, 300, 100]);
    expect(concatBytes(chunks)).toEqual(BYTES.slice(7, 1007));
  });

  it('yields nothing for nothing and stops at an abort', async () => {
    const source = countReads(createMemorySource('f', BYTES));
    for await (const chunk of streamChunks(source, 5, 0)) expect.fail(`a chunk of ${chunk.byteLength}`);
    const controller = new AbortController();
    const run = async () => {
      for await (const chunk of streamChunks(source, 0, 100, {
        windowBytes: 10,
        signal: controller.signal,
      })) {
        expect(chunk.byteLength).toBe(10);
        controller.abort();
      }
    };
    await expect(run()).rejects.toThrow(AbortError);
    expect(source.reads.length).toBe(1);
  });
});

describe('withReadAhead', () => {
  it('turns many small reads into few windows, concurrent ones too', async () => {
    const inner = countReads(createMemorySource('f', BYTES));
    const source = withReadAhead(inner, 256);
    for (let at = 0; at < 256; at += 16) await source.read(at, 16);
    expect(inner.reads).toEqual([{ offset: 0, length: 256 }]);
    const parts = await Promise.all([source.read(300, 4), source.read(304, 4), source.read(308, 4)]);
    expect(concatBytes(parts)).toEqual(BYTES.slice(300, 312));
    expect(inner.reads.length).toBe(2);
  });

  it('does not keep a failed window', async () => {
    let failures = 1;
    const flaky: ByteSource = {
      name: 'f',
      size: 10,
      read: (offset, length) =>
        failures-- > 0
          ? Promise.reject(new Error('once'))
          : Promise.resolve(BYTES.slice(offset, offset + length)),
    };
    const source = withReadAhead(flaky, 8);
    await expect(source.read(0, 2)).rejects.toThrow('once');
    expect(await source.read(0, 2)).toEqual(BYTES.slice(0, 2));
  });
});

describe('retry', () => {
  const failing = (times: number, retryable: boolean) => {
    let calls = 0;
    return {
      calls: () => calls,
      task: () => {
        calls++;
        return calls <= times
          ? Promise.reject(new FetchError(`failure ${calls}`, { retryable, status: 503 }))
          : Promise.resolve('done');
      },
    };
  };

  it('repeats retryable failures, doubling the wait', async () => {
    const { task, calls } = failing(2, true);
    const told: number[] = [];
    const policy = { firstDelayMs: 1, onRetry: (_: FetchError, attempt: number) => told.push(attempt) };
    expect(await retry(task, policy)).toBe('done');
    expect(calls()).toBe(3);
    expect(told).toEqual([1, 2]);
  });

  it('gives up after the attempts, with the last error', async () => {
    const { task, calls } = failing(9, true);
    await expect(retry(task, { attempts: 3, firstDelayMs: 1 })).rejects.toThrow('failure 3');
    expect(calls()).toBe(3);
  });

  it('does not repeat permanent failures or other errors', async () => {
    const { task, calls } = failing(9, false);
    await expect(retry(task, { firstDelayMs: 1 })).rejects.toThrow('failure 1');
    expect(calls()).toBe(1);
    await expect(retry(() => Promise.reject(new TypeError('x')))).rejects.toThrow(TypeError);
  });

  it('stops waiting when aborted', async () => {
    const controller = new AbortController();
    const waiting = sleep(60_000, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toThrow(AbortError);
  });
});

describe('relativeNameProblem', () => {
  it.each(['model.safetensors', 'a/b.json', '..a', 'a..b/c', 'ü.txt'])('accepts %j', (name) => {
    expect(relativeNameProblem(name)).toBeUndefined();
  });
  it.each([
    '',
    '..',
    '../a',
    'a/../b',
    '/etc/x',
    'a\\b',
    '\\\\host\\x',
    'C:x',
    'a/C:/x',
    './a',
    'a//b',
    'a/',
    'a\0b',
  ])('refuses %j', (name) => {
    expect(relativeNameProblem(name)).toBeTypeOf('string');
  });
});

describe('byte views', () => {
  it('share memory where aligned and copy where not', () => {
    const words = Uint32Array.of(1, 0x01020304);
    expect([...bytesOf(words).subarray(4)]).toEqual([4, 3, 2, 1]);
    expect(viewBytes(bytesOf(words), Uint32Array).buffer).toBe(words.buffer);
    const shifted = concatBytes([Uint8Array.of(9), bytesOf(words)]).subarray(1);
    expect([...viewBytes(shifted, Uint32Array)]).toEqual([1, 0x01020304]);
    expect(() => viewBytes(new Uint8Array(3), Uint16Array)).toThrow('3 bytes');
  });
});

describe('memory folder', () => {
  it('shows its files only after commit, and nothing after a failure', async () => {
    const folder = createMemoryFolder();
    await writeOutputFolder(folder, async (f) => {
      await f.writeText('a/b.txt', 'hello');
      expect(folder.files.size).toBe(0);
    });
    expect(await folder.files.get('a/b.txt')?.read(0, 5)).toEqual(new TextEncoder().encode('hello'));

    const failed = createMemoryFolder();
    const failure = writeOutputFolder(failed, async (f) => {
      await f.writeText('a.txt', 'x');
      throw new Error('boom');
    });
    await expect(failure).rejects.toThrow('boom');
    expect(failed.files.size).toBe(0);
  });

  it('refuses escaping names and unsealed files', async () => {
    const folder = createMemoryFolder();
    await expect(folder.create('../x')).rejects.toThrow('leaves the folder');
    await folder.create('open.bin');
    await expect(folder.commit()).rejects.toThrow('unsealed file "open.bin"');
  });
});
