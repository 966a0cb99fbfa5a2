import { Bug, UserError } from '../core/errors.js';
import type { ByteSink } from './byte-sink.js';
import type { ByteSource } from './byte-source.js';
import { concatBytes } from './byte-views.js';
import { createMemorySource } from './memory-source.js';
import type { OutputFolder } from './output-folder.js';
import { relativeNameProblem } from './relative-name.js';

/** An output folder in memory, for pages and tests. Memory: everything written. */
export interface MemoryFolder extends OutputFolder {
  /** The files, readable once committed; empty before. */
  readonly files: ReadonlyMap<string, ByteSource>;
}

export function createMemoryFolder(target = 'memory'): MemoryFolder {
  const pending = new Map<string, { chunks: Uint8Array[]; sealed: boolean }>();
  const files = new Map<string, ByteSource>();

  const open = (name: string): ByteSink => {
    const problem = relativeNameProblem(name);
    if (problem !== undefined) throw new UserError(`${target}: file name "${name}" refused: ${problem}`);
    if (pending.has(name)) throw new Bug(`internal: file "${name}" created twice`);
    const file = { chunks: [] as Uint8Array[], sealed: false };
    pending.set(name, file);
    return {
      append: async (bytes) => {
        if (file.sealed) throw new Bug(`internal: append to sealed file "${name}"`);
        file.chunks.push(bytes.slice());
        return Promise.resolve();
      },
      seal: async () => {
        file.sealed = true;
        return Promise.resolve();
      },
      abort: async () => {
        if (!file.sealed) pending.delete(name);
        return Promise.resolve();
      },
    };
  };

  return {
    target,
    files,
    create: async (name) => Promise.resolve(open(name)),
    async writeText(name, text) {
      const sink = open(name);
      await sink.append(new TextEncoder().encode(text));
      await sink.seal();
    },
    async commit() {
      for (const [name, file] of pending) {
        if (!file.sealed) throw new Bug(`internal: commit with unsealed file "${name}"`);
        files.set(name, createMemorySource(`${target}/${name}`, concatBytes(file.chunks)));
      }
      pending.clear();
      return Promise.resolve(target);
    },
    async abort() {
      pending.clear();
      return Promise.resolve();
    },
  };
}
