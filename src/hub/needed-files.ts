import { FormatError, UserError } from '../core/errors.js';
import { isJsonObject } from '../io/json.js';
import { listOffenders } from '../io/list-offenders.js';
import { relativeNameProblem } from '../io/relative-name.js';

export const INDEX_FILE = 'model.safetensors.index.json';
const SINGLE_FILE = 'model.safetensors';
/** The only sub-folder whose files a model needs (transformers ≥ 4.55). */
const CHAT_TEMPLATES = /^additional_chat_templates\/[^/]+\.jinja$/;
/** Settings, tokenizer, templates, licence, card and remote code (carried along, never run): small files that the output folder carries on. */
const SIDE_FILE =
  /^(?:[^/]+\.(?:json|jinja|model|tiktoken|py)|(?:merges|vocab|added_tokens)\.txt|README\.md|(?:LICEN[CS]E|NOTICE|USE_POLICY)[^/]*)$/i;
/** JSON that belongs to weights we do not read. */
const FOREIGN = /(?:\.bin|\.h5|\.msgpack|consolidated)[^/]*\.json$|\.safetensors\.index\.json$/i;

/** Small files to fetch beside the weights, out of a repository's listing. */
export function chooseSideFiles(paths: readonly string[]): string[] {
  return paths.filter((path) => (SIDE_FILE.test(path) && !FOREIGN.test(path)) || CHAT_TEMPLATES.test(path));
}

/**
 * The weight files to fetch: model.safetensors, else the shards that the index names, else every .safetensors file at the
 * top but Mistral's second copy (consolidated); where there is none of these, the one GGUF model (all its parts) or the 4-bit
 * ONNX model. `readIndex` delivers the index's text. FormatError when the index cannot be read; UserError for a choice of
 * several GGUF models; absent shards are left to whoever opens the checkpoint.
 */
export async function chooseWeightFiles(
  paths: readonly string[],
  readIndex: () => Promise<string>,
): Promise<string[]> {
  if (paths.includes(SINGLE_FILE)) return [SINGLE_FILE];
  if (paths.includes(INDEX_FILE)) {
    const shards = new Set(shardNames(await readIndex()));
    return [INDEX_FILE, ...paths.filter((path) => shards.has(path))];
  }
  const plain = paths.filter((path) => /^[^/]+\.safetensors$/.test(path) && !path.startsWith('consolidated'));
  return plain.length > 0 ? plain : chooseContainer(paths);
}

const GGUF_PART = /-\d{5}-of-(\d{5})\.gguf$/;
/** The names that transformers.js gives to models of 4 bits, with their external data. */
const ONNX_MODELS = ['onnx/model_q4.onnx', 'onnx/model_q4f16.onnx'];

function chooseContainer(paths: readonly string[]): string[] {
  const ggufs = paths.filter((path) => path.endsWith('.gguf'));
  const models = new Set(ggufs.map((path) => path.replace(GGUF_PART, '-of-$1.gguf')));
  if (models.size === 1) return ggufs;
  if (models.size > 1)
    throw new UserError(`the repository holds ${models.size} GGUF models:${listOffenders(ggufs)}`, {
      advice: 'download the one you want and give its path',
    });
  const onnx = ONNX_MODELS.find((path) => paths.includes(path));
  return onnx === undefined ? [] : paths.filter((path) => path === onnx || path.startsWith(`${onnx}_data`));
}

function shardNames(indexText: string): string[] {
  const map = readWeightMap(indexText);
  const names = [...new Set(Object.values(map).filter((file) => typeof file === 'string'))];
  return names.filter((name) => relativeNameProblem(name) === undefined);
}

function readWeightMap(indexText: string): Readonly<Record<string, unknown>> {
  let root: unknown;
  try {
    root = JSON.parse(indexText);
  } catch (cause) {
    throw new FormatError('not valid JSON', {
      file: INDEX_FILE,
      cause,
      advice: 'tell the owner of the repository',
    });
  }
  const map = isJsonObject(root) ? root.weight_map : undefined;
  if (isJsonObject(map)) return map;
  throw new FormatError('"weight_map" is missing', {
    file: INDEX_FILE,
    advice: 'tell the owner of the repository',
  });
}
