/** What the readers of safetensors formats share: finding a module's tensors, counting their bytes, reading them whole. */
import { product } from '../../core/dims.js';
import { DTYPE_BYTES } from '../../core/dtype.js';
import { FormatError } from '../../core/errors.js';
import type { Checkpoint } from '../../formats/safetensors/checkpoint.js';
import type { StoredTensor } from '../../formats/stored-tensor.js';
import { listOffenders } from '../../io/list-offenders.js';

export interface ModuleParts {
  /** The part every quantized module has, and by which it is known: "qweight". */
  readonly mark: string;
  /** Parts that each of them must have. */
  readonly needed: readonly string[];
  readonly optional: readonly string[];
}

export interface StoredModules {
  readonly modules: ReadonlySet<string>;
  /** Names of all their tensors. */
  readonly packing: ReadonlySet<string>;
  has(module: string, part: string): boolean;
  /** Stored bits over all parts of a module. */
  bits(module: string): number;
  read(module: string, part: string, signal?: AbortSignal): Promise<StoredTensor>;
}

/** FormatError listing every part that is missing, and a checkpoint without any quantized module. */
export function findStoredModules(
  checkpoint: Checkpoint,
  { mark, needed, optional }: ModuleParts,
  file: string,
): StoredModules {
  const suffix = `.${mark}`;
  const modules = [...checkpoint.tensors.keys()]
    .filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length));
  const named = (module: string, parts: readonly string[]): string[] =>
    parts.map((part) => `${module}.${part}`);
  const present = (name: string): boolean => checkpoint.tensors.has(name);
  const missing = modules.flatMap((module) => named(module, needed).filter((name) => !present(name)));
  if (missing.length > 0 || modules.length === 0) {
    const message =
      modules.length === 0
        ? `no tensor called *${suffix}, although the config says that linears are quantized`
        : `quantized linears lack tensors:${listOffenders(missing)}`;
    throw new FormatError(message, { file, advice: 'the checkpoint is incomplete: fetch or make it again' });
  }
  const parts = [...needed, ...optional];
  return {
    modules: new Set(modules),
    packing: new Set(modules.flatMap((module) => named(module, parts).filter(present))),
    has: (module, part) => present(`${module}.${part}`),
    bits: (module) =>
      named(module, parts)
        .filter(present)
        .map((name) => checkpoint.info(name))
        .reduce((sum, { dtype, shape }) => sum + product(shape) * DTYPE_BYTES[dtype] * 8, 0),
    read: async (module, part, signal) => {
      const info = checkpoint.info(`${module}.${part}`);
      return { info, bytes: await checkpoint.read(info.name, signal) };
    },
  };
}
