import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { relativeNameProblem } from '../../io/relative-name.js';

export interface ExternalEntry {
  readonly tensor: string;
  /** The .onnx file's name among the model's files. */
  readonly modelFile: string;
  /** Where the initializer stands in the .onnx file, for messages. */
  readonly at: number;
  /** external_data: location, offset, length. */
  readonly entries: ReadonlyMap<string, string>;
  /** Bytes that type and shape ask for. */
  readonly bytes: number;
}

/**
 * Where external data lies among `files`. The location comes from a stranger: it must be a plain name below the folder of
 * the .onnx file, and of a file that is there; the bytes must lie inside it and be as many as the shape says.
 */
export function placeExternal(
  files: ReadonlyMap<string, ByteSource>,
  { tensor, modelFile, at, entries, bytes }: ExternalEntry,
): { readonly file: string; readonly begin: number; readonly end: number } {
  const fail = (message: string, advice?: string): never => {
    throw new FormatError(message, {
      file: modelFile,
      tensor,
      offset: at,
      ...(advice === undefined ? {} : { advice }),
    });
  };
  const location = entries.get('location') ?? '';
  const problem = relativeNameProblem(location);
  if (problem !== undefined)
    return fail(
      `external data at ${JSON.stringify(location)}: ${problem}`,
      'weights must lie beside their .onnx file; do not use models that ask for other files',
    );
  const file = modelFile.includes('/') ? modelFile.replace(/[^/]*$/, '') + location : location;
  const source = files.get(file);
  if (source === undefined)
    return fail(`external data in ${file}, which is missing`, `fetch ${file} as well`);
  const number = (key: string, absent: number): number => {
    const text = entries.get(key);
    if (text === undefined) return absent;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    return Number.isSafeInteger(value) ? value : fail(`${key} ${JSON.stringify(text)} of external data`);
  };
  const begin = number('offset', 0);
  const length = number('length', bytes);
  if (length !== bytes) return fail(`${bytes} bytes expected by type and shape, external data of ${length}`);
  if (begin + length > source.size)
    return fail(
      `bytes ${begin} to ${begin + length} of ${file}, which has ${source.size}`,
      `${file} is truncated or belongs to another model: fetch it again`,
    );
  return { file, begin, end: begin + length };
}
