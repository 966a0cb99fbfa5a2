import { UserError } from '../../../core/errors.js';
import type { ByteSource } from '../../../io/byte-source.js';
import { isJsonObject, readJsonObject, readText } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';

/** The files of a checkpoint that a GGUF tokenizer is made from, parsed. */
export interface TokenizerFiles {
  /** tokenizer.json. */
  readonly tokenizer: JsonObject;
  /** tokenizer_config.json; empty where there is none. */
  readonly config: JsonObject;
  /** generation_config.json; empty where there is none. */
  readonly generation: JsonObject;
  /** Chat templates by name; the one that is used unless asked otherwise is called "default". */
  readonly templates: ReadonlyMap<string, string>;
}

const EXTRA_TEMPLATE = /^additional_chat_templates\/(.+)\.jinja$/;

/**
 * Reads them from the side files of a checkpoint, by name. UserError without tokenizer.json, FormatError for files that
 * do not parse. chat_template.jinja wins over tokenizer_config.json's "chat_template", as in transformers.
 */
export async function readTokenizerFiles(
  sideFiles: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<TokenizerFiles> {
  const tokenizer = sideFiles.get('tokenizer.json');
  if (tokenizer === undefined)
    throw new UserError('a GGUF file carries its tokenizer, but the checkpoint has no tokenizer.json', {
      advice:
        'add tokenizer.json to the model folder (transformers makes one from tokenizer.model: AutoTokenizer…save_pretrained)',
    });
  const optional = async (name: string): Promise<JsonObject> => {
    const source = sideFiles.get(name);
    return source === undefined ? {} : readJsonObject(source, signal);
  };
  const config = await optional('tokenizer_config.json');
  const templates = templatesOf(config.chat_template);
  for (const [name, source] of sideFiles) {
    const key = name === 'chat_template.jinja' ? 'default' : EXTRA_TEMPLATE.exec(name)?.[1];
    if (key !== undefined) templates.set(key, await readText(source, signal));
  }
  return {
    tokenizer: await readJsonObject(tokenizer, signal),
    config,
    generation: await optional('generation_config.json'),
    templates,
  };
}

/** tokenizer_config.json's "chat_template": one text, or a list of named ones. */
export function templatesOf(value: unknown): Map<string, string> {
  const templates = new Map<string, string>();
  if (typeof value === 'string') templates.set('default', value);
  if (!Array.isArray(value)) return templates;
  for (const entry of value as unknown[])
    if (isJsonObject(entry) && typeof entry.name === 'string' && typeof entry.template === 'string')
      templates.set(entry.name, entry.template);
  return templates;
}
