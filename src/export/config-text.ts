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
