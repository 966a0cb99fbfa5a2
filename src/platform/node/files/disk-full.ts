import { statfs } from 'node:fs/promises';
import { HalfbyteError } from '../../../core/errors.js';
import { fsError, fsErrorCode } from './fs-error.js';

/** Throws HalfbyteError when the disk of `folder` has less than `expectedBytes` free. `path` is what the message names. */
export async function checkFreeSpace(folder: string, expectedBytes: number, path: string): Promise<void> {
  const free = await freeBytes(folder);
  if (free < expectedBytes) throw diskFullError({ path, needed: `${expectedBytes} bytes needed`, free });
}

export interface WriteFailure {
  /** What the message names. */
  readonly path: string;
  /** An existing folder on the same disk. */
  readonly folder: string;
  /** The file being written. */
  readonly name: string;
  readonly writtenBytes: number;
  /** What the whole job takes, where known. */
  readonly expectedBytes?: number | undefined;
}

/** What a failed write means: a full disk with figures, or what fsError makes of it. */
export async function explainWriteError(error: unknown, failure: WriteFailure): Promise<Error> {
  const { path, folder, name, writtenBytes, expectedBytes } = failure;
  const code = fsErrorCode(error);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return fsError(error, `write ${name}`, path);
  const total = expectedBytes === undefined ? '' : ` of ${expectedBytes} needed`;
  const needed = `stopped after ${writtenBytes} bytes of ${name}${total}`;
  return diskFullError({ path, needed, free: await freeBytes(folder), cause: error });
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

interface DiskFull {
  readonly path: string;
  readonly needed: string;
  readonly free: number;
  readonly cause?: unknown;
}

function diskFullError({ path, needed, free, cause }: DiskFull): HalfbyteError {
  return new HalfbyteError(`${path}: the disk is full: ${needed}, ${free} bytes free`, {
    cause,
    advice: 'free some space there, or choose another disk',
  });
}
