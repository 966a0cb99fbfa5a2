import type { JsonObject } from '../io/json.js';

/** config.json of the quantized folder: the original with `quantization_config` set, every other key untouched. */
export function patchedConfigText(
  config: JsonObject,
  quantization: Readonly<Record<string, unknown>>,
): string {
  return jsonText({ ...config, quantization_config: quantization });
}

/** JSON as Hugging Face files are written: two spaces, newline at the end. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
