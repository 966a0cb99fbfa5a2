import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../../../core/errors.js';
import type { ByteSource } from '../../../io/byte-source.js';
import { openFileSource } from './file-source.js';
import { fsError, fsErrorCode } from './fs-error.js';

/** The only sub-folder that belongs to a model. */
const SUB_FOLDERS = ['additional_chat_templates'];

/**
 * The files of a model on disk, by names relative to its folder: of a folder all that is not hidden; of a .safetensors
 * file that one, with everything beside it but other weights. Undefined when nothing is at `path`.
 * UserError for a file of another kind.
 */
export async function openLocalModel(path: string): Promise<ReadonlyMap<string, ByteSource> | undefined> {
  const found = await statOrUndefined(path);
  if (found === undefined) return undefined;
  if (found.isDirectory()) return openFiles(path, await listNames(path));
  if (!path.endsWith('.safetensors')) {
    throw new UserError(`${path}: a folder or a .safetensors file expected`, {
      advice: 'halfbyte reads safetensors checkpoints only; point MODEL at the folder that holds config.json',
    });
  }
  const own = basename(path);
  const names = await listNames(dirname(path));
  return openFiles(
    dirname(path),
    names.filter((name) => name === own || !/\.safetensors(\.index\.json)?$/.test(name)),
  );
}

async function listNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const sub of ['', ...SUB_FOLDERS]) {
    const entries = await readdir(join(folder, sub)).catch((error: unknown) => {
      if (sub !== '' && ['ENOENT', 'ENOTDIR'].includes(fsErrorCode(error) ?? '')) return [];
      throw fsError(error, 'list', join(folder, sub));
    });
    for (const entry of entries.filter((name) => !name.startsWith('.')).sort()) {
      const name = sub === '' ? entry : `${sub}/${entry}`;
      // stat follows links: snapshots in the Hub's cache consist of them.
      if ((await statOrUndefined(join(folder, name)))?.isFile() === true) names.push(name);
    }
  }
  return names;
}

async function openFiles(folder: string, names: readonly string[]): Promise<Map<string, ByteSource>> {
  const files = new Map<string, ByteSource>();
  for (const name of names) files.set(name, await openFileSource(join(folder, name)));
  return files;
}

async function statOrUndefined(path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: unknown) => {
    const code = fsErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw fsError(error, 'look at', path);
  });
}
