import { product } from '../../core/dims.js';
import { DTYPE_BYTES } from '../../core/dtype.js';
import { FormatError } from '../../core/errors.js';
import type { AffineLinear } from '../../core/quantized-linear.js';
import type { GptqConfig } from '../../formats/gptq/gptq-config.js';
import { parseGptqConfig } from '../../formats/gptq/gptq-config.js';
import type { GptqLayer } from '../../formats/gptq/gptq-layer.js';
import { decodeGptqLayer } from '../../formats/gptq/gptq-layer.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import { viewBytes } from '../../io/byte-views.js';
import type { JsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import { assertFinite } from '../check-finite.js';
import type { QuantizedReader } from '../quantized-reader.js';

const PARTS = ['qweight', 'qzeros', 'scales', 'g_idx'] as const;

/** A reader for GPTQ checkpoints. FormatError listing missing parts and nonsense in the settings. */
export function openGptqReader(
  quantization: JsonObject,
  checkpoint: Checkpoint,
  file: string,
): QuantizedReader {
  const settings = parseGptqConfig(quantization, file);
  const suffix = '.qweight';
  const modules = new Set(
    [...checkpoint.tensors.keys()]
      .filter((name) => name.endsWith(suffix))
      .map((name) => name.slice(0, -suffix.length)),
  );
  const packing = [...modules].flatMap((module) => PARTS.map((part) => `${module}.${part}`));
  const missing = packing.filter((name) => !checkpoint.tensors.has(name));
  if (missing.length > 0)
    throw new FormatError(`quantized linears lack tensors:${listOffenders(missing)}`, {
      file,
      advice: 'the checkpoint is incomplete, or of a GPTQ variant without g_idx: fetch or make it again',
    });
  const shape = (module: string): readonly [number, number] => {
    const [wordRows, outFeatures] = checkpoint.info(`${module}.qweight`).shape;
    return [outFeatures, (wordRows * 32) / settings.bits];
  };
  return {
    format: settings.checkpointFormat,
    bits: settings.bits,
    groupSize: settings.groupSize,
    symmetric: settings.symmetric,
    modules,
    packing: new Set(packing),
    shape,
    storedBits: (module) => {
      const parts = PARTS.map((part) => checkpoint.info(`${module}.${part}`));
      const bits = parts.reduce((sum, part) => sum + product(part.shape) * DTYPE_BYTES[part.dtype] * 8, 0);
      return bits / product(shape(module));
    },
    read: (module, signal) => readLayer(checkpoint, module, settings, signal),
  };
}

async function readLayer(
  checkpoint: Checkpoint,
  module: string,
  settings: GptqConfig,
  signal: AbortSignal | undefined,
): Promise<AffineLinear> {
  const { bits, checkpointFormat: format } = settings;
  const part = async (name: (typeof PARTS)[number], dtypes: readonly string[]): Promise<Uint8Array> => {
    const info = checkpoint.info(`${module}.${name}`);
    if (dtypes.includes(info.dtype)) return checkpoint.read(info.name, signal);
    throw new FormatError(`dtype ${dtypes.join(' or ')} expected, ${info.dtype} found`, {
      file: info.file,
      tensor: info.name,
      advice: 'this GPTQ variant is not one halfbyte reads',
    });
  };
  const words = ['I32', 'U32'];
  const scales = await part('scales', ['F16']);
  assertFinite(scales, { tensor: `${module}.scales`, dtype: 'F16', firstElement: 0 });
  const tensors = {
    qweight: viewBytes(await part('qweight', words), Uint32Array),
    qzeros: viewBytes(await part('qzeros', words), Uint32Array),
    scales: viewBytes(scales, Uint16Array),
    gIdx: viewBytes(await part('g_idx', words), Int32Array),
  };
  const { file } = checkpoint.info(`${module}.qweight`);
  const layer = decodeGptqLayer(tensors, { name: module, bits, format, file });
  return { kind: 'affine', ...layer, groupSize: groupSizeOf(layer, { module, settings, file }) };
}

/** Columns per group; the settings must agree with the number of scales. */
function groupSizeOf(
  { inFeatures, outFeatures, scales }: GptqLayer,
  { module, settings, file }: { module: string; settings: GptqConfig; file: string },
): number {
  const groupSize = settings.groupSize === -1 ? inFeatures : settings.groupSize;
  const groups = scales.length / outFeatures;
  if (groups === Math.ceil(inFeatures / groupSize)) return groupSize;
  throw new FormatError(
    `${groups} groups found, group_size ${settings.groupSize} of ${inFeatures} columns makes ${Math.ceil(inFeatures / groupSize)}`,
    {
      file,
      tensor: `${module}.scales`,
      advice: 'the quantization config belongs to other weights: fetch both from the same place',
    },
  );
}
