import { parseAwqConfig } from '../../formats/awq/awq-config.js';
import { AWQ_BITS, awqShape, decodeAwqLayer } from '../../formats/awq/awq-layer.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { JsonObject } from '../../io/json.js';
import type { QuantizedReader } from '../quantized-reader.js';
import { findStoredModules } from './stored-modules.js';

const PARTS = ['qweight', 'qzeros', 'scales'] as const;

/** A reader for AWQ checkpoints (GEMM layout). FormatError listing missing parts and what the settings ask in vain. */
export function openAwqReader(
  quantization: JsonObject,
  checkpoint: Checkpoint,
  file: string,
): QuantizedReader {
  const { groupSize } = parseAwqConfig(quantization, file);
  const stored = findStoredModules(checkpoint, { mark: 'qweight', needed: PARTS, optional: [] }, file);
  const shape = (module: string): readonly [number, number] => {
    const header = (part: string) => ({ info: checkpoint.info(`${module}.${part}`) });
    const headers = { qweight: header('qweight'), qzeros: header('qzeros'), scales: header('scales') };
    const { outFeatures, inFeatures } = awqShape(headers, groupSize);
    return [outFeatures, inFeatures];
  };
  return {
    format: 'awq',
    bits: AWQ_BITS,
    groupSize,
    // Zero points are stored for every group; only the values tell.
    symmetric: null,
    modules: stored.modules,
    packing: stored.packing,
    shape,
    storedBits: (module) => {
      const [outFeatures, inFeatures] = shape(module);
      return stored.bits(module) / (outFeatures * inFeatures);
    },
    read: async (module, signal) => {
      const [qweight, qzeros, scales] = await Promise.all(
        PARTS.map((part) => stored.read(module, part, signal)),
      );
      return decodeAwqLayer({ qweight, qzeros, scales }, groupSize);
    },
  };
}
