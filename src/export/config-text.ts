import type { JsonObject } from '../io/json.js';

/**
 * config.json of the quantized folder: the original text with `quantization_config` put at its end. The text is kept
 * because a JavaScript round trip would turn 10000.0 into 10000 and 1e-05 into 0.00001, and strict readers tell a float
 * from an integer.
 */
export function patchedConfigText(
  originalText: string,
  config: JsonObject,
  quantization: Readonly<Record<string, unknown>>,
): string {
  const end = originalText.lastIndexOf('}');
  const hasKey = Object.hasOwn(config, 'quantization_config');
  // A key that is there already (null: quantized checkpoints are refused) must be replaced, not repeated.
  if (hasKey || Object.keys(config).length === 0 || end < 0)
    return jsonText({ ...config, quantization_config: quantization });
  const value = JSON.stringify(quantization, null, 2).replaceAll('\n', '\n  ');
  return `${originalText.slice(0, end).trimEnd()},\n  "quantization_config": ${value}\n}\n`;
}

/** JSON as Hugging Face files are written: two spaces, newline at the end. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/**
 * The text of a JSON object without some of its keys; the rest stays as it is written, for the reason above. Falls back to
 * writing it anew where the text is not laid out as expected.
 */
export function withoutKeys(text: string, json: JsonObject, keys: readonly string[]): string {
  const unwanted = keys.filter((key) => Object.hasOwn(json, key));
  let rest = text;
  for (const key of unwanted) rest = withoutKey(rest, key);
  const expected = Object.fromEntries(Object.entries(json).filter(([key]) => !unwanted.includes(key)));
  return sameJson(rest, expected) ? rest : jsonText(expected);
}

function withoutKey(text: string, key: string): string {
  const start = text.search(new RegExp(`,?\\s*${JSON.stringify(key)}\\s*:`));
  if (start < 0) return text;
  const end = valueEnd(text, text.indexOf(':', start + JSON.stringify(key).length) + 1);
  // The first key has no comma before it, so the one behind it goes.
  const tail = text[start] === ',' ? text.slice(end) : text.slice(end).replace(/^\s*,/, '');
  return text.slice(0, start) + tail;
}

/** Where the JSON value that begins at or behind `from` ends. */
function valueEnd(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++;
    } else if (char === '{' || char === '[') depth++;
    else if (depth === 0 && (char === ',' || char === '}')) return text.slice(0, at).trimEnd().length;
    else if (char === '}' || char === ']') depth--;
  }
  return text.length;
}

function sameJson(text: string, expected: unknown): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(expected);
  } catch {
    return false;
  }
}
