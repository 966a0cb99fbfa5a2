import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The folder with libllama and libggml that node-llama-cpp brings for the CPU of this machine, for llama_cpp.py.
 * `peers` is the folder that setup-npm.sh prints.
 */
export function findLlamaLibraries(peers: string): string {
  const builds = join(peers, 'node_modules/@node-llama-cpp');
  const name = `${process.platform}-${process.arch}`;
  const folder = join(builds, name, 'bins', name);
  const hasLibrary = existsSync(folder) && readdirSync(folder).some((file) => file.startsWith('libllama.'));
  if (!hasLibrary) throw new Error(`${folder} has no libllama: is node-llama-cpp built for ${name}?`);
  return folder;
}
