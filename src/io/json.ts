import { FormatError } from '../core/errors.js';
import type { ByteSource } from './byte-source.js';
import { jsonErrorPosition } from './json-error-position.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** tokenizer.json, the biggest JSON file of real models, is 7 to 35 MB; more than this is not a settings file. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The text of a small file. FormatError when it is longer than 256 MB or not UTF-8. */
export async function readText(source: ByteSource, signal?: AbortSignal): Promise<string> {
  if (source.size > MAX_JSON_BYTES) {
    throw new FormatError(`${source.size} bytes, at most ${MAX_JSON_BYTES} expected of a text file`, {
      file: source.name,
    });
  }
  return decodeUtf8(await source.read(0, source.size, signal), source.name, 0);
}

/** Strict UTF-8; `offset` is where `bytes` start in the file, for the message. */
export function decodeUtf8(bytes: Uint8Array, file: string, offset: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError('not valid UTF-8', {
      file,
      offset,
      cause,
      advice: 'the file is damaged: fetch it again',
    });
  }
}

/** JSON of any type from a file; FormatError names the file, line and column. */
export async function readJson(source: ByteSource, signal?: AbortSignal): Promise<unknown> {
  return parseJson(await readText(source, signal), source.name);
}

/** A JSON object from a file; FormatError when it is anything else. */
export async function readJsonObject(source: ByteSource, signal?: AbortSignal): Promise<JsonObject> {
  const value = await readJson(source, signal);
  if (!isJsonObject(value)) {
    throw new FormatError(`a JSON object expected, ${describeJson(value)} found`, { file: source.name });
  }
  return value;
}

/** JSON.parse whose error names `file` and where in it. A byte order mark at the start is tolerated. */
export function parseJson(text: string, file: string): unknown {
  const body = text.startsWith('\ufeff') ? text.slice(1) : text;
  try {
    return JSON.parse(body) as unknown;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const advice = 'the file is damaged or was edited by hand: fetch it again or correct it';
    const before = body.slice(0, jsonErrorPosition(body));
    const line = before.split('\n').length;
    const column = before.length - before.lastIndexOf('\n');
    const offset = new TextEncoder().encode(before).byteLength;
    throw new FormatError(`not valid JSON at line ${line}, column ${column}: ${reason}`, {
      file,
      offset,
      advice,
      cause,
    });
  }
}

/** "an array", "null", "a string": what a value is, for messages. */
export function describeJson(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return `${typeof value} ${JSON.stringify(value)}`;
}
