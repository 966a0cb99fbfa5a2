/** The GGUF files of a model: one, or the parts of a split one (llama.cpp's gguf-split). Memory: their headers. */
import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { GgufHeader, GgufTensorInfo } from './gguf-header.js';
import { readGgufHeader } from './gguf-header.js';
import type { GgufMetadata } from './gguf-value.js';

export interface GgufFiles {
  /** Name of the (first) file. */
  readonly file: string;
  /** All files, in order. */
  readonly files: readonly string[];
  /** Of the first file. */
  readonly metadata: GgufMetadata;
  /** By name, in file order. */
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
}

const PART = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * Reads the headers of the GGUF model among `files`; undefined where there is no .gguf file. FormatError for a choice
 * among several models, missing parts, and parts that do not belong together.
 */
export async function openGgufFiles(
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<GgufFiles | undefined> {
  const names = chooseModel([...files.keys()]);
  if (names === undefined) return undefined;
  const headers: GgufHeader[] = [];
  const tensors = new Map<string, GgufTensorInfo>();
  const problems: string[] = [];
  for (const [index, name] of names.entries()) {
    const source = files.get(name);
    if (source === undefined) throw missingParts(names, files);
    const header = await readGgufHeader(source, name, signal);
    headers.push(header);
    problems.push(...splitProblems(header.metadata, name, { index, count: names.length }));
    for (const info of header.tensors) {
      if (tensors.has(info.name))
        problems.push(`tensor "${info.name}" is in ${tensors.get(info.name)?.file} and ${name}`);
      tensors.set(info.name, info);
    }
  }
  const { metadata } = headers[0];
  const total = intOf(metadata, 'split.tensors.count');
  if (names.length > 1 && total !== undefined && total !== tensors.size)
    problems.push(`${total} tensors declared by split.tensors.count, ${tensors.size} found`);
  if (problems.length > 0)
    throw new FormatError(`the parts do not belong together:${listOffenders(problems)}`, {
      file: names[0],
      advice: 'fetch all parts of the model again, under their own names',
    });
  return { file: names[0], files: names, metadata, tensors };
}

/** Files of one model, in order; vision projectors (mmproj) are no models. */
function chooseModel(all: readonly string[]): readonly string[] | undefined {
  const candidates = all.filter((name) => name.endsWith('.gguf') && !/(^|\/)mmproj/.test(name));
  if (candidates.length === 0) return undefined;
  const models = new Set(candidates.map((name) => name.replace(PART, '$1-of-$3')));
  const single = candidates.includes('model.gguf') ? 'model.gguf' : candidates[0];
  if (models.size > 1 && single !== 'model.gguf')
    throw new FormatError(`several GGUF models:${listOffenders(candidates)}`, {
      file: 'model folder',
      advice: 'point MODEL at one of the files',
    });
  const part = PART.exec(single);
  if (part === null) return [single];
  const [, base, , count] = part;
  return Array.from(
    { length: Number(count) },
    (_, i) => `${base}-${String(i + 1).padStart(5, '0')}-of-${count}.gguf`,
  );
}

function missingParts(names: readonly string[], files: ReadonlyMap<string, ByteSource>): FormatError {
  const missing = names.filter((name) => !files.has(name));
  return new FormatError(`${missing.length} of ${names.length} parts are missing:${listOffenders(missing)}`, {
    file: names.find((name) => files.has(name)) ?? names[0],
    advice: 'fetch the missing parts into the same folder',
  });
}

function splitProblems(
  metadata: GgufMetadata,
  name: string,
  { index, count }: { readonly index: number; readonly count: number },
): string[] {
  const number = intOf(metadata, 'split.no') ?? 0;
  const declared = intOf(metadata, 'split.count') ?? 0;
  if (count === 1 && declared <= 1) return [];
  if (number === index && declared === count) return [];
  return [`${name}: says it is part ${number + 1} of ${declared}, its name part ${index + 1} of ${count}`];
}

function intOf(metadata: GgufMetadata, key: string): number | undefined {
  const entry = metadata.get(key);
  return entry === undefined || entry.type === 'array' ? undefined : Number(entry.value);
}
