import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { assert } from '../../../core/errors.js';
import type { ByteSink } from '../../../io/byte-sink.js';

/** Chunks below this are collected before they are written: a header, a scale row, a bias. */
const BUFFER_BYTES = 1024 * 1024;

export interface FileSinkOptions {
  /** Turns a system error into what the person should read. */
  readonly explain: (error: unknown, writtenBytes: number) => Error | Promise<Error>;
}

/** A new file at `path`, which must not exist. `seal` flushes it to the disk. Memory: 1 MB. */
export async function createFileSink(path: string, { explain }: FileSinkOptions): Promise<ByteSink> {
  let written = 0;
  const attempt = async <T>(task: Promise<T>): Promise<T> =>
    task.catch(async (error: unknown) => {
      throw await explain(error, written);
    });
  const handle: FileHandle = await attempt(open(path, 'wx'));
  const buffer = new Uint8Array(BUFFER_BYTES);
  let buffered = 0;
  let state: 'open' | 'sealed' | 'aborted' = 'open';

  const write = async (bytes: Uint8Array): Promise<void> => {
    for (let done = 0; done < bytes.byteLength;) {
      const { bytesWritten } = await attempt(handle.write(bytes, done, bytes.byteLength - done));
      done += bytesWritten;
      written += bytesWritten;
    }
  };
  const flush = async (): Promise<void> => {
    const length = buffered;
    buffered = 0;
    await write(buffer.subarray(0, length));
  };

  return {
    async append(bytes) {
      assert(state === 'open', `append to ${state} file ${path}`);
      if (buffered + bytes.byteLength > BUFFER_BYTES) await flush();
      if (bytes.byteLength >= BUFFER_BYTES) {
        await write(bytes);
      } else {
        buffer.set(bytes, buffered);
        buffered += bytes.byteLength;
      }
    },
    async seal() {
      assert(state === 'open', `seal of ${state} file ${path}`);
      await flush();
      await attempt(handle.sync());
      state = 'sealed';
      await attempt(handle.close());
    },
    async abort() {
      if (state !== 'open') return;
      state = 'aborted';
      await handle.close();
    },
  };
}
