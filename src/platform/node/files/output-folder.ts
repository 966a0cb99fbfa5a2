import type { Stats } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Bug, UserError } from '../../../core/errors.js';
import type { ByteSink } from '../../../io/byte-sink.js';
import type { OutputFolder } from '../../../io/output-folder.js';
import { relativeNameProblem } from '../../../io/relative-name.js';
import { checkFreeSpace, explainWriteError } from './disk-full.js';
import { createFileSink } from './file-sink.js';
import { fsError, fsErrorCode } from './fs-error.js';
import { isStale, partialName } from './partial-name.js';

export interface FolderOptions {
  /** Replace a model folder that already stands at the target. */
  readonly overwrite?: boolean;
  /** Bytes that will be written, where known: refused at once when the disk has less. */
  readonly expectedBytes?: number;
}

/** A folder with one of these is taken for a model folder, which --overwrite may replace. */
const MODEL_FOLDER_MARKS = [
  'halfbyte.json',
  'config.json',
  'model.safetensors',
  'model.safetensors.index.json',
];

/**
 * An output folder on disk. Files are written into a hidden sibling of `target`, flushed, and `commit` renames it: a
 * process killed at any moment leaves no target or a complete one. With `overwrite` the old folder is renamed away just
 * before and deleted just after; a kill between the two renames leaves no target, and the next run puts the old one back
 * first. Hidden siblings that dead processes left for the same target are removed here.
 * UserError when the target exists without `overwrite`, or is no model folder; HalfbyteError when the disk is full.
 */
export async function createOutputFolder(target: string, options: FolderOptions = {}): Promise<OutputFolder> {
  const path = resolve(target);
  const parent = dirname(path);
  await mkdir(parent, { recursive: true }).catch((error: unknown) => {
    throw fsError(error, 'create the folder', parent);
  });
  await cleanUpAfterDeadProcesses(path);
  await checkTarget(path, options.overwrite === true);
  if (options.expectedBytes !== undefined) await checkFreeSpace(parent, options.expectedBytes, path);
  const partial = join(parent, partialName(basename(path), 'partial'));
  await mkdir(partial).catch((error: unknown) => {
    throw fsError(error, 'create the folder', partial);
  });
  return makeFolder({ path, partial, options });
}

interface FolderState {
  /** Final place. */
  readonly path: string;
  /** Where it grows. */
  readonly partial: string;
  readonly options: FolderOptions;
}

function makeFolder(state: FolderState): OutputFolder {
  const { path, partial, options } = state;
  const files = new Map<string, { sink: ByteSink; sealed: boolean }>();
  let finished = false;

  const create = async (name: string): Promise<ByteSink> => {
    const problem = relativeNameProblem(name);
    if (problem !== undefined) throw new UserError(`${path}: file name "${name}" refused: ${problem}`);
    if (finished || files.has(name)) throw new Bug(`internal: file "${name}" created twice or too late`);
    const place = join(partial, name);
    const explain = (error: unknown, writtenBytes: number): Promise<Error> =>
      explainWriteError(error, {
        ...{ path, folder: dirname(path), name, writtenBytes },
        expectedBytes: options.expectedBytes,
      });
    await mkdir(dirname(place), { recursive: true }).catch(async (error: unknown) => {
      throw await explain(error, 0);
    });
    const sink = await createFileSink(place, { explain });
    const file = { sink, sealed: false };
    files.set(name, file);
    return {
      append: (bytes) => sink.append(bytes),
      async seal() {
        await sink.seal();
        file.sealed = true;
      },
      abort: () => sink.abort(),
    };
  };

  return {
    target: path,
    create,
    async writeText(name, text) {
      const sink = await create(name);
      await sink.append(new TextEncoder().encode(text));
      await sink.seal();
    },
    async commit() {
      if (finished) throw new Bug('internal: output folder committed twice or after abort');
      for (const [name, file] of files) {
        if (!file.sealed) throw new Bug(`internal: commit with unsealed file "${name}"`);
      }
      await syncFolders(partial);
      await moveIntoPlace(partial, path, options.overwrite === true);
      finished = true;
      await syncFolder(dirname(path));
      return path;
    },
    async abort() {
      if (finished) return;
      finished = true;
      await Promise.allSettled([...files.values()].map((file) => file.sink.abort()));
      await rm(partial, { recursive: true, force: true });
    },
  };
}

async function moveIntoPlace(partial: string, path: string, overwrite: boolean): Promise<void> {
  // Looked at again: the run may have taken hours.
  const old = await lstatOrUndefined(path);
  await checkTarget(path, overwrite);
  const replaced = join(dirname(path), partialName(basename(path), 'replaced'));
  try {
    if (old !== undefined) await rename(path, replaced);
    await rename(partial, path);
  } catch (error) {
    // Either rename may have failed; the old folder goes back if it had left. The first failure is the one to show.
    if (old !== undefined) await Promise.allSettled([rename(replaced, path)]);
    throw fsError(error, 'move the finished folder into place', path);
  }
  if (old !== undefined) await rm(replaced, { recursive: true, force: true });
}

async function checkTarget(path: string, overwrite: boolean): Promise<void> {
  const found = await lstatOrUndefined(path);
  if (found === undefined) return;
  if (!overwrite) {
    throw new UserError(`${path} already exists`, {
      advice: 'choose another --out, or add --overwrite to replace it',
    });
  }
  if (!found.isDirectory()) {
    throw new UserError(`${path} is not a folder, so --overwrite does not replace it`, {
      advice: 'choose another --out, or remove it yourself',
    });
  }
  const entries = await readdir(path);
  if (entries.length > 0 && !entries.some((entry) => MODEL_FOLDER_MARKS.includes(entry))) {
    throw new UserError(
      `${path} holds ${entries.length} entries but no model, so --overwrite does not replace it`,
      {
        advice: `choose another --out; a folder with one of ${MODEL_FOLDER_MARKS.join(', ')} would be replaced`,
      },
    );
  }
}

async function cleanUpAfterDeadProcesses(path: string): Promise<void> {
  const parent = dirname(path);
  const name = basename(path);
  const entries = await readdir(parent);
  for (const entry of entries.filter((candidate) => isStale(candidate, name, 'replaced'))) {
    const place = join(parent, entry);
    if ((await lstatOrUndefined(path)) === undefined) await rename(place, path);
    else await rm(place, { recursive: true, force: true });
  }
  for (const entry of entries.filter((candidate) => isStale(candidate, name, 'partial'))) {
    await rm(join(parent, entry), { recursive: true, force: true });
  }
}

async function lstatOrUndefined(path: string): Promise<Stats | undefined> {
  return lstat(path).catch((error: unknown) => {
    if (fsErrorCode(error) === 'ENOENT') return undefined;
    throw fsError(error, 'look at', path);
  });
}

/** Flushes the entries of a folder tree, children first. */
async function syncFolders(root: string): Promise<void> {
  for (const entry of await readdir(root, { withFileTypes: true })) {
    if (entry.isDirectory()) await syncFolders(join(root, entry.name));
  }
  await syncFolder(root);
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders; its file system journals renames by itself.
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
