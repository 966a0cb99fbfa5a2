import { FormatError } from '../../core/errors.js';
import type { MlxConfig, MlxGrid } from '../../formats/mlx/mlx-config.js';
import { parseMlxConfig } from '../../formats/mlx/mlx-config.js';
import { decodeMlxLayer, mlxShape } from '../../formats/mlx/mlx-layer.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { JsonObject } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { QuantizedReader } from '../quantized-reader.js';
import { findStoredModules } from './stored-modules.js';

const PARTS = ['weight', 'scales', 'biases'] as const;

/**
 * A reader for folders quantized by mlx (mode affine); `config` is all of config.json. FormatError listing missing parts,
 * settings that halfbyte does not read, and modules about which settings and tensors disagree.
 */
export function openMlxReader(config: JsonObject, checkpoint: Checkpoint, file: string): QuantizedReader {
  const settings = parseMlxConfig(config, file);
  const stored = findStoredModules(checkpoint, { mark: 'scales', needed: PARTS, optional: [] }, file);
  checkEntries(settings, checkpoint, stored.modules, file);
  const grids = new Map(
    [...stored.modules].map((module) => [module, settings.modules.get(module) ?? settings]),
  );
  const gridOf = (module: string): MlxGrid => grids.get(module) ?? settings;
  const shape = (module: string): readonly [number, number] => {
    const header = (part: string) => ({ info: checkpoint.info(`${module}.${part}`) });
    const headers = { weight: header('weight'), scales: header('scales'), biases: header('biases') };
    const { outFeatures, inFeatures } = mlxShape(headers, gridOf(module));
    return [outFeatures, inFeatures];
  };
  return {
    format: 'mlx',
    bits: common([...grids.values()].map(({ bits }) => bits)),
    groupSize: common([...grids.values()].map(({ groupSize }) => groupSize)),
    // Only the values tell.
    symmetric: null,
    modules: stored.modules,
    packing: stored.packing,
    shape,
    storedBits: (module) => {
      const [outFeatures, inFeatures] = shape(module);
      return stored.bits(module) / (outFeatures * inFeatures);
    },
    grid: (module) => {
      // Biases of F16 and F32 may stand for integer zero points, which only the values tell.
      if (checkpoint.info(`${module}.scales`).dtype !== 'BF16') return undefined;
      const { bits, groupSize } = gridOf(module);
      const flags = { symmetric: false, signed: true, reordered: false } as const;
      return { kind: 'affine-min', bits, groupSize, ...flags, scaleDType: 'BF16' };
    },
    read: async (module, signal) => {
      const [weight, scales, biases] = await Promise.all(
        PARTS.map((part) => stored.read(module, part, signal)),
      );
      return decodeMlxLayer({ weight, scales, biases }, gridOf(module));
    },
  };
}

function common(values: readonly number[]): number | null {
  return values.every((value) => value === values[0]) ? values[0] : null;
}

/** mlx fails on entries that the weights contradict; entries about modules that are not there mean nothing. */
function checkEntries(
  settings: MlxConfig,
  checkpoint: Checkpoint,
  modules: ReadonlySet<string>,
  file: string,
): void {
  const problems = [...settings.modules].flatMap(([module, grid]) => {
    if (grid === null && modules.has(module)) return [`${module}: said to stay dense, but has scales`];
    if (grid !== null && !modules.has(module) && checkpoint.tensors.has(`${module}.weight`))
      return [`${module}: said to be quantized, but has no scales`];
    return [];
  });
  if (problems.length === 0) return;
  throw new FormatError(`the quantization settings do not fit the weights:${listOffenders(problems)}`, {
    file,
    advice: 'config.json and the weights belong to different models: fetch both from the same place',
  });
}
