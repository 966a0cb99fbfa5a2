import { FormatError } from '../../core/errors.js';
import type { CodebookName } from '../../core/quantized-linear.js';
import { parseBitsandbytesConfig } from '../../formats/bitsandbytes/bitsandbytes-config.js';
import {
  ABSMAX,
  CODEBOOK_NAMES,
  decodeLayer,
  NESTED_ABSMAX,
  NESTED_QUANT_MAP,
  QUANT_MAP,
  stateName,
  WEIGHT,
} from '../../formats/bitsandbytes/bitsandbytes-layer.js';
import type { QuantState } from '../../formats/bitsandbytes/quant-state.js';
import { MAX_STATE_BYTES, readQuantState } from '../../formats/bitsandbytes/quant-state.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { StoredTensor } from '../../formats/stored-tensor.js';
import type { JsonObject } from '../../io/json.js';
import type { QuantizedReader } from '../quantized-reader.js';
import type { StoredModules } from './stored-modules.js';
import { findStoredModules } from './stored-modules.js';

/** The modules on one codebook and what their states say. */
interface CodebookModules {
  readonly codebook: CodebookName;
  readonly stored: StoredModules;
}

/**
 * A reader for 4-bit bitsandbytes checkpoints. Reads every module's state (200 bytes each): shapes stand nowhere else.
 * FormatError listing missing parts, for LLM.int8 and for states that make no sense.
 */
export async function openBitsandbytesReader(
  quantization: JsonObject,
  checkpoint: Checkpoint,
  file: string,
  signal?: AbortSignal,
): Promise<QuantizedReader> {
  parseBitsandbytesConfig(quantization, file);
  const groups = findCodebooks(checkpoint, file);
  const homes = new Map<string, CodebookModules>();
  const states = new Map<string, QuantState>();
  for (const group of groups)
    for (const module of group.stored.modules) {
      homes.set(module, group);
      states.set(module, await readState(checkpoint, module, group.codebook, signal));
    }
  const stateOf = (module: string): QuantState => known(states, module, file);
  const sizes = new Set([...states.values()].map(({ blockSize }) => blockSize));
  return {
    format: 'bitsandbytes',
    bits: 4,
    groupSize: sizes.size === 1 ? [...sizes][0] : null,
    symmetric: null,
    modules: new Set(homes.keys()),
    packing: new Set(groups.flatMap(({ stored }) => [...stored.packing])),
    shape: (module) => stateOf(module).shape,
    storedBits: (module) => {
      const [outFeatures, inFeatures] = stateOf(module).shape;
      return known(homes, module, file).stored.bits(module) / (outFeatures * inFeatures);
    },
    grid: (module) => {
      const { codebook, blockSize, nestedOffset } = stateOf(module);
      return { kind: 'codebook', codebook, blockSize, nested: nestedOffset !== undefined };
    },
    read: async (module, signalOfRead) => {
      const { codebook, stored } = known(homes, module, file);
      const part = (name: string): Promise<StoredTensor> => stored.read(module, name, signalOfRead);
      const optional = (name: string): Promise<StoredTensor | undefined> =>
        stored.has(module, name) ? part(name) : Promise.resolve(undefined);
      const [weight, absmax, quantMap, state] = await Promise.all(
        [WEIGHT, ABSMAX, QUANT_MAP, stateName(codebook)].map(part),
      );
      const [nestedAbsmax, nestedQuantMap] = await Promise.all(
        [NESTED_ABSMAX, NESTED_QUANT_MAP].map(optional),
      );
      return decodeLayer({ weight, absmax, quantMap, state, nestedAbsmax, nestedQuantMap }, codebook);
    },
  };
}

/** One entry for each codebook in use; FormatError where there is none or parts are missing. */
function findCodebooks(checkpoint: Checkpoint, file: string): CodebookModules[] {
  const names = [...checkpoint.tensors.keys()];
  const used = CODEBOOK_NAMES.filter((codebook) =>
    names.some((name) => name.endsWith(`.${stateName(codebook)}`)),
  );
  return (used.length === 0 ? CODEBOOK_NAMES.slice(0, 1) : used).map((codebook) => {
    const mark = stateName(codebook);
    const parts = {
      mark,
      needed: [mark, WEIGHT, ABSMAX, QUANT_MAP],
      optional: [NESTED_ABSMAX, NESTED_QUANT_MAP],
    };
    return { codebook, stored: findStoredModules(checkpoint, parts, file) };
  });
}

async function readState(
  checkpoint: Checkpoint,
  module: string,
  codebook: CodebookName,
  signal: AbortSignal | undefined,
): Promise<QuantState> {
  const info = checkpoint.info(`${module}.${stateName(codebook)}`);
  const length = info.end - info.begin;
  if (length > MAX_STATE_BYTES)
    throw new FormatError(`a text of at most ${MAX_STATE_BYTES} bytes expected, ${length} found`, {
      file: info.file,
      tensor: info.name,
      offset: info.begin,
      advice: 'the file is damaged: fetch it again',
    });
  return readQuantState({ info, bytes: await checkpoint.read(info.name, signal) }, codebook);
}

function known<T>(entries: ReadonlyMap<string, T>, module: string, file: string): T {
  const entry = entries.get(module);
  if (entry !== undefined) return entry;
  throw new FormatError(`no quantized linear "${module}"`, {
    file,
    advice: 'the weights belong to another model than the config: fetch both again',
  });
}
