import type { Hash } from 'node:crypto';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { link, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FetchError } from '../../../core/errors.js';
import type { RemoteFile, StoreRequest } from '../../../hub/model-cache.js';
import { checkFreeSpace, explainWriteError } from './disk-full.js';
import { fsErrorCode } from './fs-error.js';
import { isDeadOwner, ownerTag } from './partial-name.js';

/**
 * Downloads `request.file` to `blob`, continuing what an earlier attempt left, and renames it into place once size and
 * digest are right. FetchError when the content is wrong, and then nothing is kept. After any other failure the part that arrived stays, to be continued.
 */
export async function downloadBlob(blob: string, request: StoreRequest): Promise<void> {
  const { file } = request;
  const part = `${blob}.${ownerTag()}-${randomBytes(4).toString('hex')}.incomplete`;
  const done = await takeOver(blob, part, file.size);
  await checkFreeSpace(dirname(blob), file.size - done, part);
  const hash = createDigest(file);
  if (done > 0) for await (const chunk of createReadStream(part)) hash.update(chunk as Uint8Array);
  try {
    await appendAll(part, done, request, hash);
  } catch (error) {
    // Marked as nobody's, so that the next attempt, in this process too, may continue it.
    await release(part, blob);
    throw error;
  }
  const digest = hash.digest('hex');
  if (digest !== file.etag) {
    await rm(part, { force: true });
    // What an earlier attempt left may have been damaged by a crash of the machine: once more, from nothing.
    if (done > 0) return downloadBlob(blob, request);
    const kind = file.etagKind === 'sha256' ? 'SHA-256' : 'git blob id';
    throw new FetchError(
      `${request.place.id}/${file.path}: ${kind} ${file.etag} expected, ${digest} downloaded`,
      {
        retryable: true,
        advice: 'the transfer damaged the file, or it was replaced meanwhile: try again',
      },
    );
  }
  await publish(part, blob, file.size);
}

/** Gives `part` the name `blob`, but leaves a good blob that came meanwhile alone: somebody may be reading it. */
async function publish(part: string, blob: string, size: number): Promise<void> {
  try {
    await link(part, blob);
  } catch (error) {
    const present = fsErrorCode(error) === 'EEXIST' && (await stat(blob)).size === size;
    // Not every file system has links; then, and over a blob of the wrong size, a rename does it.
    if (!present) return rename(part, blob);
  }
  await rm(part);
}

async function appendAll(part: string, done: number, request: StoreRequest, hash: Hash): Promise<void> {
  const { file } = request;
  let written = done;
  const explain = async (error: unknown): Promise<never> => {
    throw await explainWriteError(error, {
      ...{ path: part, folder: dirname(part), name: file.path },
      ...{ writtenBytes: written, expectedBytes: file.size },
    });
  };
  const handle: FileHandle = await open(part, 'a').catch(explain);
  try {
    for await (const chunk of request.download(done)) {
      hash.update(chunk);
      await handle.appendFile(chunk).catch(explain);
      written += chunk.byteLength;
      request.onBytes?.(written);
    }
    await handle.sync().catch(explain);
  } finally {
    await handle.close();
  }
  if (written !== file.size) {
    throw new FetchError(
      `${request.place.id}/${file.path}: ${file.size} bytes expected, ${written} downloaded`,
      {
        retryable: true,
      },
    );
  }
}

/** SHA-256 for LFS files; for others git's own id, which hashes a short prefix and then the content. */
function createDigest(file: RemoteFile): Hash {
  if (file.etagKind === 'sha256') return createHash('sha256');
  return createHash('sha1').update(`blob ${file.size}\0`);
}

/** Makes one abandoned part of this blob ours by renaming it to `part`; returns its length, 0 when there is none. */
async function takeOver(blob: string, part: string, size: number): Promise<number> {
  const folder = dirname(blob);
  const prefix = `${basename(blob)}.`;
  for (const entry of await readdir(folder)) {
    if (!entry.startsWith(prefix) || !isAbandoned(entry.slice(prefix.length))) continue;
    try {
      await rename(join(folder, entry), part);
    } catch (error) {
      // Another process took it first.
      if (fsErrorCode(error) === 'ENOENT') continue;
      throw error;
    }
    const { size: length } = await stat(part);
    if (length <= size) return length;
    await rm(part);
  }
  return 0;
}

function isAbandoned(suffix: string): boolean {
  if (/^free-[0-9a-f]{8}\.incomplete$/.test(suffix)) return true;
  const match = /^([0-9a-f]{6})-(\d+)-[0-9a-f]{8}\.incomplete$/.exec(suffix);
  return match !== null && isDeadOwner(match[1], Number(match[2]));
}

async function release(part: string, blob: string): Promise<void> {
  try {
    await rename(part, `${blob}.free-${randomBytes(4).toString('hex')}.incomplete`);
  } catch (error) {
    if (fsErrorCode(error) !== 'ENOENT') throw error;
  }
}
