import type { OutputFolder } from '../io/output-folder.js';
import type { Hasher } from './sha256.js';

export interface HashingFolder extends OutputFolder {
  /** SHA-256 of every file sealed so far, by name. */
  readonly sha256: ReadonlyMap<string, string>;
}

/** Passes everything on to `folder` and hashes it on the way, so that written files need not be read again. */
export function withHashes(folder: OutputFolder, createHasher: () => Hasher): HashingFolder {
  const sha256 = new Map<string, string>();
  return {
    target: folder.target,
    sha256,
    create: async (name) => {
      const sink = await folder.create(name);
      const hasher = createHasher();
      return {
        append: async (bytes) => {
          hasher.update(bytes);
          await sink.append(bytes);
        },
        seal: async () => {
          await sink.seal();
          sha256.set(name, hasher.digest());
        },
        abort: () => sink.abort(),
      };
    },
    writeText: async (name, text) => {
      await folder.writeText(name, text);
      const hasher = createHasher();
      hasher.update(new TextEncoder().encode(text));
      sha256.set(name, hasher.digest());
    },
    commit: () => folder.commit(),
    abort: () => folder.abort(),
  };
}
