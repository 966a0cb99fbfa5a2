import type { ConfigReader } from '../config-reader.js';

/**
 * Sliding windows of qwen2 and qwen3: `layer_types` names each layer's attention; without it, layers from
 * `max_window_layers` on slide when `use_sliding_window` is true. (The default `sliding_window` is 4096.)
 */
export function readQwenWindows(reader: ConfigReader, layers: number): (number | undefined)[] {
  const sliding = reader.boolean('use_sliding_window', false) && reader.raw('sliding_window') !== null;
  const window = sliding ? reader.positiveInt('sliding_window', 4096) : undefined;
  const firstSliding =
    reader.raw('max_window_layers') === 0 ? 0 : reader.positiveInt('max_window_layers', 28);
  const types = reader.strings('layer_types');
  if (types === undefined)
    return Array.from({ length: layers }, (_, i) => (i >= firstSliding ? window : undefined));

  if (types.length !== layers) reader.complain('layer_types', `an array of ${layers} layer types`);
  const known = ['full_attention', 'sliding_attention'];
  if (types.some((type) => !known.includes(type))) reader.refuse('layer_types', known.join(', '));
  if (types.includes('sliding_attention') && window === undefined)
    reader.complain(
      'sliding_window',
      'a number with use_sliding_window true, because layer_types has sliding layers',
    );
  return types.map((type) => (type === 'sliding_attention' ? window : undefined));
}
