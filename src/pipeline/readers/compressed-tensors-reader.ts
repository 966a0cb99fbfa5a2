import { FormatError } from '../../core/errors.js';
import { parsePackedConfig } from '../../formats/compressed-tensors/compressed-tensors-config.js';
import { decodePackedLayer, packedShape } from '../../formats/compressed-tensors/decode-packed-layer.js';
import type { PackScheme } from '../../formats/compressed-tensors/pack-quantized-layer.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { JsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { QuantizedReader } from '../quantized-reader.js';
import { findStoredModules } from './stored-modules.js';

const PARTS = {
  mark: 'weight_packed',
  needed: ['weight_packed', 'weight_scale', 'weight_shape'],
  optional: ['weight_zero_point', 'weight_g_idx'],
} as const;

/**
 * A reader for compressed-tensors checkpoints in "pack-quantized". FormatError listing missing parts, modules without a
 * scheme and what the settings ask in vain.
 */
export function openCompressedTensorsReader(
  quantization: JsonObject,
  checkpoint: Checkpoint,
  file: string,
): QuantizedReader {
  const config = parsePackedConfig(quantization, file);
  const stored = findStoredModules(checkpoint, PARTS, file);
  const schemes = schemesOf(stored.modules, (module) => config.schemeOf(module), file);
  const schemeOf = (module: string): PackScheme => {
    const scheme = schemes.get(module);
    if (scheme !== undefined) return scheme;
    throw new FormatError('the module is not stored quantized', { file, tensor: module });
  };
  const shape = (module: string): readonly [number, number] => {
    const packed = { info: checkpoint.info(`${module}.weight_packed`) };
    const scale = { info: checkpoint.info(`${module}.weight_scale`) };
    const { outFeatures, inFeatures } = packedShape({ packed, scale }, schemeOf(module));
    return [outFeatures, inFeatures];
  };
  const used = [...schemes.values()];
  return {
    format: 'compressed-tensors',
    bits: common(used.map(({ bits }) => bits)),
    groupSize: common(used.map(({ groupSize }) => groupSize)),
    symmetric: common(used.map(({ symmetric }) => symmetric)),
    modules: stored.modules,
    packing: stored.packing,
    shape,
    storedBits: (module) => {
      const [outFeatures, inFeatures] = shape(module);
      return stored.bits(module) / (outFeatures * inFeatures);
    },
    read: async (module, signal) => {
      const optional = (part: string) =>
        stored.has(module, part) ? stored.read(module, part, signal) : Promise.resolve(undefined);
      const [packed, scale, weightShape, zeroPoint, gIdx] = await Promise.all([
        stored.read(module, 'weight_packed', signal),
        stored.read(module, 'weight_scale', signal),
        stored.read(module, 'weight_shape', signal),
        optional('weight_zero_point'),
        optional('weight_g_idx'),
      ]);
      return decodePackedLayer({ packed, scale, shape: weightShape, zeroPoint, gIdx }, schemeOf(module));
    },
  };
}

function schemesOf(
  modules: ReadonlySet<string>,
  find: (module: string) => PackScheme | undefined,
  file: string,
): ReadonlyMap<string, PackScheme> {
  const schemes = new Map<string, PackScheme>();
  const lost: string[] = [];
  for (const module of modules) {
    const scheme = find(module);
    if (scheme === undefined) lost.push(module);
    else schemes.set(module, scheme);
  }
  if (lost.length === 0) return schemes;
  throw new FormatError(`modules are packed, and no config group targets them:${listOffenders(lost)}`, {
    file,
    advice: 'config.json and the weights belong to different models: fetch both from the same place',
  });
}

function common<T>(values: readonly T[]): T | null {
  return values.every((value) => value === values[0]) ? (values[0] ?? null) : null;
}
