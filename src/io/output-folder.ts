import type { ByteSink } from './byte-sink.js';

/**
 * A folder that comes into being all at once: files are written somewhere nobody looks, and `commit` makes them appear
 * under the final name in one step. Until then, whatever happens, the final name does not exist (or holds what it held).
 */
export interface OutputFolder {
  /** Where the folder will appear, for messages. */
  readonly target: string;
  /** A new file; names are relative, with "/" as separator. The same name twice is an error. */
  create(name: string): Promise<ByteSink>;
  writeText(name: string, text: string): Promise<void>;
  /** Makes the folder appear; resolves with its path. Every sink must be sealed. */
  commit(): Promise<string>;
  /** Removes everything written so far; harmless after commit. */
  abort(): Promise<void>;
}

/** Runs `write`, then commits; on any failure removes what was written and throws the first error. */
export async function writeOutputFolder(
  folder: OutputFolder,
  write: (folder: OutputFolder) => Promise<void>,
): Promise<string> {
  try {
    await write(folder);
    return await folder.commit();
  } catch (error) {
    // The first failure is the one to show; a failing clean-up (a full or vanished disk) must not hide it.
    await Promise.allSettled([folder.abort()]);
    throw error;
  }
}
