import { FormatError } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { describeJson, isJsonObject, parseJson, readText } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import { relativeNameProblem } from '../../io/relative-name.js';
import { duplicateKeys } from './duplicate-keys.js';

export interface WeightMap {
  /** Tensor name → shard file, in the order of the index. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Shard file → its bytes, each once, in order of first mention. */
  readonly shards: ReadonlyMap<string, ByteSource>;
}

/**
 * Reads model.safetensors.index.json: every shard it names must be a plain relative name and be among `files`.
 * FormatError lists all shards that are absent or escape the folder.
 */
export async function readWeightMap(
  index: ByteSource,
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<WeightMap> {
  const text = await readText(index, signal);
  const root = parseJson(text, index.name);
  const map = isJsonObject(root) ? root['weight_map'] : undefined;
  if (!isJsonObject(map)) {
    throw new FormatError(`"weight_map": an object expected, ${describeJson(map)} found`, {
      file: index.name,
    });
  }
  const problems = new Set(duplicateKeys(text).map((key) => `${key}: the name appears twice`));
  const weightMap = new Map<string, string>();
  const shards = new Map<string, ByteSource>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== 'string') {
      problems.add(`tensor "${tensor}": a file name expected, ${describeJson(file)} found`);
      continue;
    }
    weightMap.set(tensor, file);
    const escape = relativeNameProblem(file);
    const source = files.get(file);
    if (escape !== undefined) problems.add(`file "${file}" is refused: ${escape}`);
    else if (source === undefined) problems.add(`file "${file}" is missing`);
    else shards.set(file, source);
  }
  if (weightMap.size === 0 && problems.size === 0) problems.add('the index names no tensors');
  if (problems.size > 0) {
    throw new FormatError(`the index cannot be followed:${listOffenders([...problems])}`, {
      file: index.name,
      advice: 'download the missing files; an index that points outside its folder is not to be trusted',
    });
  }
  return { weightMap, shards };
}
