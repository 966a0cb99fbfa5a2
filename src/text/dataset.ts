import { FormatError, UserError } from '../core/errors.js';
import { describeJson, isJsonObject } from '../io/json.js';
import type { ByteSource } from '../io/byte-source.js';
import { streamChunks } from '../io/stream-chunks.js';

/** Between documents of a .jsonl file: a blank line, as between paragraphs. */
const DOCUMENT_SEPARATOR = '\n\n';
/** Bytes per read. */
const WINDOW_BYTES = 1024 * 1024;

/**
 * The text of a file as chunks, in order. `.jsonl` files are documents, one JSON object a line, joined by blank lines;
 * everything else is UTF-8 text as it stands. Memory: one read window and the longest line of a .jsonl file.
 *
 * Errors: FormatError for invalid UTF-8 or JSON; UserError for .jsonl lines without a text field (naming the line).
 */
export async function* readText(
  source: ByteSource,
  signal?: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  const chunks = decodeChunks(source, signal);
  if (source.name.toLowerCase().endsWith('.jsonl')) yield* readDocuments(chunks, source.name);
  else yield* chunks;
}

async function* decodeChunks(
  source: ByteSource,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, void, undefined> {
  // A byte order mark at the start is dropped by the decoder.
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let offset = 0;
  const options = { windowBytes: WINDOW_BYTES, signal };
  for await (const bytes of streamChunks(source, 0, source.size, options)) {
    const text = decodeOrThrow(() => decoder.decode(bytes, { stream: true }), source.name, offset);
    offset += bytes.byteLength;
    if (text !== '') yield text;
  }
  const tail = decodeOrThrow(() => decoder.decode(), source.name, offset);
  if (tail !== '') yield tail;
}

function decodeOrThrow(decode: () => string, file: string, offset: number): string {
  try {
    return decode();
  } catch (cause) {
    throw new FormatError('not valid UTF-8', {
      file,
      offset,
      cause,
      advice: 'save the text as UTF-8 (the offset is the start of the part that fails)',
    });
  }
}

async function* readDocuments(
  chunks: AsyncIterable<string>,
  file: string,
): AsyncGenerator<string, void, undefined> {
  let line = 0;
  let separator = '';
  for await (const text of splitLines(chunks)) {
    line += 1;
    if (text.trim() === '') continue;
    yield separator + documentText(text, file, line);
    separator = DOCUMENT_SEPARATOR;
  }
}

async function* splitLines(chunks: AsyncIterable<string>): AsyncGenerator<string, void, undefined> {
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines[lines.length - 1];
    yield* lines.slice(0, -1);
  }
  if (rest !== '') yield rest;
}

function documentText(text: string, file: string, line: number): string {
  const advice = 'give one document a line, such as {"text": "…"}, or a plain .txt file';
  const value = parseLine(text, file, line, advice);
  if (isJsonObject(value) && typeof value.text === 'string') return value.text;
  const found = isJsonObject(value)
    ? `fields ${Object.keys(value).join(', ') || 'none'}`
    : describeJson(value);
  throw new UserError(
    `${file} line ${line}: a JSON object with a string field "text" expected, found ${found}`,
    { advice },
  );
}

function parseLine(text: string, file: string, line: number, advice: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`line ${line} is not valid JSON: ${reason}`, { file, cause, advice });
  }
}
