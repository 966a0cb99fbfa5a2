import type { FileHandle } from 'node:fs/promises';
import { open, stat } from 'node:fs/promises';
import { throwIfAborted } from '../../../core/abort.js';
import { FormatError, HalfbyteError, UserError } from '../../../core/errors.js';
import type { ByteSource } from '../../../io/byte-source.js';
import { checkRange, shortReadError } from '../../../io/byte-source.js';
import { fsError } from './fs-error.js';

/** Linux delivers at most 2³¹ − 4096 bytes per read call; Node refuses more than 2³¹ − 1. */
const MAX_CALL_BYTES = 1024 * 1024 * 1024;

/**
 * A file on disk. It is opened for each read, so that a checkpoint of hundreds of shards holds no descriptors and
 * nothing has to be closed; a file that changed since then is refused instead of mixing two versions.
 * `name` is how errors call it; by default the path.
 */
export async function openFileSource(path: string, name: string = path): Promise<ByteSource> {
  const first = await stat(path).catch((error: unknown) => {
    throw fsError(error, 'read', path);
  });
  if (!first.isFile()) throw new UserError(`${path}: not a file`, { advice: 'check the path' });

  const identity = { name, size: first.size };
  return {
    ...identity,
    async read(offset, length, signal) {
      throwIfAborted(signal);
      checkRange(identity, offset, length);
      const bytes = allocate(length, name);
      await readInto(offset, bytes, signal);
      return bytes;
    },
    readInto,
  };

  async function readInto(offset: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    checkRange(identity, offset, bytes.byteLength);
    const handle = await open(path, 'r').catch((error: unknown) => {
      throw fsError(error, 'read', path);
    });
    try {
      const now = await handle.stat();
      if (now.ino !== first.ino || now.size !== first.size || now.mtimeMs !== first.mtimeMs) {
        throw new FormatError('the file was changed or replaced while it was being read', {
          file: name,
          advice: 'wait until nobody writes to it, then start again',
        });
      }
      await fill(handle, { bytes, offset, name, signal });
    } finally {
      await handle.close();
    }
  }
}

function allocate(length: number, name: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new HalfbyteError(`${name}: no memory for a piece of ${length} bytes`, {
      cause,
      advice: 'close other programs, or use a machine with more memory',
    });
  }
}

interface FillRequest {
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly name: string;
  readonly signal: AbortSignal | undefined;
}

async function fill(handle: FileHandle, { bytes, offset, name, signal }: FillRequest): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    throwIfAborted(signal);
    const wanted = Math.min(MAX_CALL_BYTES, bytes.byteLength - done);
    const { bytesRead } = await handle.read(bytes, done, wanted, offset + done).catch((error: unknown) => {
      throw fsError(error, 'read', name);
    });
    if (bytesRead === 0) throw shortReadError(name, offset, bytes.byteLength, done);
    done += bytesRead;
  }
}
