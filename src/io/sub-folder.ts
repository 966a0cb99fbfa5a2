import type { OutputFolder } from './output-folder.js';

/** A part of an output folder as a folder of its own; it appears and vanishes with the whole. */
export function subFolder(folder: OutputFolder, path: string): OutputFolder {
  return {
    target: `${folder.target}/${path}`,
    create: (name) => folder.create(`${path}/${name}`),
    writeText: (name, text) => folder.writeText(`${path}/${name}`, text),
    commit: () => Promise.resolve(`${folder.target}/${path}`),
    abort: () => Promise.resolve(),
  };
}
