import { FormatError, UserError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { AffineWeight } from '../engine/quant.js';
import type { GptqConfig } from '../formats/gptq/gptq-config.js';
import { parseGptqConfig } from '../formats/gptq/gptq-config.js';
import type { GptqLayer } from '../formats/gptq/gptq-layer.js';
import { decodeGptqLayer } from '../formats/gptq/gptq-layer.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { viewBytes } from '../io/byte-views.js';
import { describeJson, isJsonObject } from '../io/json.js';
import type { JsonObject } from '../io/json.js';
import { listOffenders } from '../io/list-offenders.js';
import { assertFinite } from './check-finite.js';

/** Reads the linears of a GPTQ checkpoint. */
export interface GptqReader {
  readonly settings: GptqConfig;
  /** Modules stored on a grid. */
  readonly modules: ReadonlySet<string>;
  has(module: string): boolean;
  /** One linear's tensors on an engine; they are the caller's. Host memory: the packed tensors, twice. */
  read(module: string, outFeatures: number, inFeatures: number, engine: Engine): Promise<AffineWeight>;
}

const PARTS = ['qweight', 'qzeros', 'scales', 'g_idx'] as const;

/**
 * A reader for checkpoints whose config.json has a quantization_config of method gptq; undefined where there is none.
 * UserError for other methods; FormatError listing missing parts and nonsense in the settings.
 */
export function openGptqReader(
  config: JsonObject,
  checkpoint: Checkpoint,
  file: string,
): GptqReader | undefined {
  const quantization = config.quantization_config;
  if (quantization === undefined || quantization === null) return undefined;
  const settings = readSettings(quantization, file);
  const suffix = '.qweight';
  const modules = new Set(
    [...checkpoint.tensors.keys()]
      .filter((name) => name.endsWith(suffix))
      .map((name) => name.slice(0, -suffix.length)),
  );
  const missing = [...modules].flatMap((module) =>
    PARTS.map((part) => `${module}.${part}`).filter((name) => !checkpoint.tensors.has(name)),
  );
  if (missing.length > 0)
    throw new FormatError(`quantized linears lack tensors:${listOffenders(missing)}`, {
      file,
      advice: 'the checkpoint is incomplete, or of a GPTQ variant without g_idx: fetch or make it again',
    });
  return {
    settings,
    modules,
    has: (module) => modules.has(module),
    read: async (module, outFeatures, inFeatures, engine) => {
      const layer = await readLayer(checkpoint, module, settings);
      checkLayerShape(layer, {
        module,
        outFeatures,
        inFeatures,
        file: checkpoint.info(`${module}.qweight`).file,
      });
      return uploadLayer(engine, layer, module);
    },
  };
}

function readSettings(quantization: unknown, file: string): GptqConfig {
  if (!isJsonObject(quantization))
    throw new FormatError(`quantization_config: an object expected, ${describeJson(quantization)} found`, {
      file,
    });
  const method = quantization.quant_method ?? quantization.method;
  if (method !== 'gptq')
    throw new UserError(`${file}: weights quantized by ${describeJson(method)} cannot be read; gptq can`, {
      advice: 'use the 16-bit model, or a GPTQ folder',
    });
  return parseGptqConfig(quantization, file);
}

async function readLayer(checkpoint: Checkpoint, module: string, settings: GptqConfig): Promise<GptqLayer> {
  const { bits, checkpointFormat: format } = settings;
  const part = async (name: (typeof PARTS)[number], dtypes: readonly string[]): Promise<Uint8Array> => {
    const info = checkpoint.info(`${module}.${name}`);
    if (dtypes.includes(info.dtype)) return checkpoint.read(info.name);
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
  return decodeGptqLayer(tensors, { name: module, bits, format, file });
}

interface ExpectedLayer {
  readonly module: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly file: string;
}

function checkLayerShape(layer: GptqLayer, { module, outFeatures, inFeatures, file }: ExpectedLayer): void {
  if (layer.outFeatures === outFeatures && layer.inFeatures === inFeatures) return;
  throw new FormatError(
    `a quantized [${outFeatures}, ${inFeatures}] matrix expected, [${layer.outFeatures}, ${layer.inFeatures}] found`,
    { file, tensor: `${module}.qweight`, advice: 'config.json and the weights belong to different models' },
  );
}

function uploadLayer(engine: Engine, layer: GptqLayer, module: string): AffineWeight {
  const { bits, outFeatures, inFeatures } = layer;
  const groups = layer.scales.length / outFeatures;
  const zeros = Float32Array.from(layer.zeros);
  return {
    bits,
    outFeatures,
    inFeatures,
    codes: engine.upload(layer.codes, [outFeatures, (inFeatures * bits) / 32], 'u32', `${module}.codes`),
    scales: engine.upload(layer.scales, [outFeatures, groups], 'f32', `${module}.scales`),
    zeros: engine.upload(zeros, [outFeatures, groups], 'f32', `${module}.zeros`),
    groupOf: engine.upload(layer.groupOf, [inFeatures], 'u32', `${module}.g_idx`),
  };
}
