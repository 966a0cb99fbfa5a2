/**
 * The Hub's cache on disk, in the layout of the Python client (huggingface_hub file_download.py):
 *
 *   models--owner--name/refs/<branch>              text: commit
 *   models--owner--name/blobs/<etag>               content
 *   models--owner--name/snapshots/<commit>/<path>  link to the blob
 *
 * A download grows under a name of its own process and is renamed when its size and digest are right, so processes of
 * either client may fetch the same file at the same time: the last rename wins and all bytes are equal. What a dead or
 * failed download left is taken over and continued. Memory: one network chunk.
 */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { Bug } from '../../../core/errors.js';
import type { ModelCache, RemoteFile, SnapshotPlace, StoreRequest } from '../../../hub/model-cache.js';
import type { ByteSource } from '../../../io/byte-source.js';
import { relativeNameProblem } from '../../../io/relative-name.js';
import { downloadBlob } from './download-blob.js';
import { openFileSource } from './file-source.js';
import { fsError, fsErrorCode } from './fs-error.js';

/** The Python client's folder where no environment variable says otherwise. */
export function defaultHubCacheFolder(): string {
  return join(homedir(), '.cache', 'huggingface', 'hub');
}

export function createHubCache(folder: string = defaultHubCacheFolder()): ModelCache {
  /** Downloads of this cache under way, by blob path: a second request waits for the first. */
  const running = new Map<string, Promise<void>>();
  const repo = (id: string): string => join(folder, `models--${id.replaceAll('/', '--')}`);
  const snapshot = ({ id, commit }: SnapshotPlace): string => join(repo(id), 'snapshots', safe(commit));

  const find: ModelCache['find'] = async (place, file) => {
    const pointer = join(snapshot(place), safe(file.path));
    if ((await sizeOf(pointer)) !== file.size) return undefined;
    return openFileSource(pointer);
  };

  const store = async (request: StoreRequest): Promise<ByteSource> => {
    const { place, file } = request;
    const blob = join(repo(place.id), 'blobs', safe(file.etag));
    await makeFolder(dirname(blob));
    if ((await sizeOf(blob)) !== file.size) {
      const download = running.get(blob) ?? downloadBlob(blob, request);
      running.set(blob, download);
      await download.finally(() => running.delete(blob));
    }
    const pointer = join(snapshot(place), safe(file.path));
    await linkBlob(blob, pointer, file);
    return openFileSource(pointer);
  };

  return {
    find,
    store,
    async readRef(id, revision) {
      const text = await readFile(join(repo(id), 'refs', safe(revision)), 'utf8').catch((error: unknown) => {
        if (isAbsent(error)) return undefined;
        throw fsError(error, 'read', join(repo(id), 'refs', revision));
      });
      const commit = text?.trim();
      return commit !== undefined && /^[0-9a-f]{40}$/.test(commit) ? commit : undefined;
    },
    async writeRef(id, revision, commit) {
      const path = join(repo(id), 'refs', safe(revision));
      await makeFolder(dirname(path));
      const fresh = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
      await writeFile(fresh, commit);
      await rename(fresh, path);
    },
    async list(place) {
      const files = new Map<string, ByteSource>();
      const root = snapshot(place);
      for (const name of await listTree(root)) files.set(name, await openFileSource(join(root, name)));
      return files;
    },
  };
}

/** The last door before names from the network become paths. */
function safe(name: string): string {
  const problem = relativeNameProblem(name);
  if (problem !== undefined) throw new Bug(`internal: cache entry "${name}": ${problem}`);
  return name;
}

/** Links `pointer` to the blob as the Python client does, relatively; copies where links are not allowed (Windows). */
async function linkBlob(blob: string, pointer: string, file: RemoteFile): Promise<void> {
  await makeFolder(dirname(pointer));
  for (const attempt of [1, 2]) {
    try {
      await symlink(relative(dirname(pointer), blob), pointer);
      return;
    } catch (error) {
      const code = fsErrorCode(error);
      if (code === 'EPERM' || code === 'ENOTSUP') return copyFile(blob, pointer);
      if (code !== 'EEXIST' || attempt === 2) throw fsError(error, 'link', pointer);
      // Somebody else linked it just now, or an old link leads nowhere.
      if ((await sizeOf(pointer)) === file.size) return;
      await rm(pointer, { force: true });
    }
  }
}

/** Files below `root`, links counted as what they point to; broken links and hidden entries left out. */
async function listTree(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true }).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw fsError(error, 'list', root);
  });
  const names: string[] = [];
  for (const entry of entries.sort()) {
    if ((await sizeOf(join(root, entry))) !== undefined) names.push(entry.replaceAll('\\', '/'));
  }
  return names;
}

/** Size of the file at `path`, links followed; undefined when there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    (error: unknown) => {
      if (isAbsent(error)) return undefined;
      throw fsError(error, 'look at', path);
    },
  );
}

function isAbsent(error: unknown): boolean {
  const code = fsErrorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error: unknown) => {
    throw fsError(error, 'create the folder', path);
  });
}
