import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../../../core/errors.js';
import type { ByteSource } from '../../../io/byte-source.js';
import { openFileSource } from './file-source.js';
import { fsError, fsErrorCode } from './fs-error.js';

/** The only sub-folders that belong to a model. */
const SUB_FOLDERS = ['additional_chat_templates', 'onnx'];
const WEIGHT_FILE = /\.(safetensors(\.index\.json)?|gguf)$/;
/** One part of a split GGUF. */
const GGUF_PART = /-\d{5}-of-(\d{5})\.gguf$/;

/**
 * The files of a model on disk, by names relative to its folder: of a folder all that is not hidden; of a .safetensors or
 * .gguf file that one (all parts of a split GGUF), with everything beside it but other weights. Undefined when nothing is
 * at `path`.
 * UserError for a file of another kind.
 */
export async function openLocalModel(path: string): Promise<ReadonlyMap<string, ByteSource> | undefined> {
  const found = await statOrUndefined(path);
  if (found === undefined) return undefined;
  if (found.isDirectory()) return openFiles(path, await listNames(path));
  if (!path.endsWith('.safetensors') && !path.endsWith('.gguf')) {
    throw new UserError(`${path}: a folder, a .safetensors or a .gguf file expected`, {
      advice: 'point MODEL at the folder that holds config.json, or at one of its weight files',
    });
  }
  const own = basename(path);
  const parts = own.replace(GGUF_PART, '-of-$1.gguf');
  const names = await listNames(dirname(path));
  return openFiles(
    dirname(path),
    names.filter((name) => !WEIGHT_FILE.test(name) || name.replace(GGUF_PART, '-of-$1.gguf') === parts),
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
