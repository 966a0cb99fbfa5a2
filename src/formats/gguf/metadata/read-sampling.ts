import type { JsonObject } from '../../../io/json.js';
import type { GgufMetadata } from '../gguf-value.js';
import { shortestDecimal } from './metadata-reader.js';

const KEYS = [
  ['top_k', 'top_k'],
  ['top_p', 'top_p'],
  ['min_p', 'min_p'],
  ['temp', 'temperature'],
  ['penalty_repeat', 'repetition_penalty'],
] as const;

/** generation_config.json of the sampling that a file asks for; undefined where it asks for none. */
export function readGgufSampling(metadata: GgufMetadata): JsonObject | undefined {
  const found = KEYS.flatMap(([key, name]): [string, number][] => {
    const entry = metadata.get(`general.sampling.${key}`);
    if (entry?.type === 'f32') return [[name, shortestDecimal(entry.value)]];
    return entry?.type === 'i32' ? [[name, entry.value]] : [];
  });
  return found.length === 0 ? undefined : { do_sample: true, ...Object.fromEntries(found) };
}
