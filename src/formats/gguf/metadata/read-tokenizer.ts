import { parseJson, isJsonObject } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';
import type { GgufMetadata } from '../gguf-value.js';
import { MetadataReader } from './metadata-reader.js';
import { preTokenizerByName, preTokenizerJson } from './pre-tokenizers.js';
import { mergesFromScores, spaceMarkingJson } from './read-spm.js';
import { TOKEN_TYPES } from './token-list.js';

/** A tokenizer as files of a Hugging Face checkpoint, or why this one cannot be had. */
export type GgufTokenizer =
  | { readonly kind: 'files'; readonly tokenizer: JsonObject; readonly config: JsonObject }
  | { readonly kind: 'unknown'; readonly reason: string };

/** The token table of a GGUF file. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
}

/** Rows of the embedding that have no token; written by converters to fill the table. */
const PADDING_TOKEN = /^\[PAD\d+\]$/;

const SPECIAL = ['bos', 'eos', 'unknown', 'padding'] as const;
const CONFIG_NAMES = {
  bos: 'bos_token',
  eos: 'eos_token',
  unknown: 'unk_token',
  padding: 'pad_token',
} as const;

/**
 * `tokenizer.*` keys → tokenizer.json and tokenizer_config.json. A tokenizer.json carried whole
 * (`tokenizer.huggingface.json`) is taken as it is. FormatError for keys of the wrong type or length.
 */
export function readGgufTokenizer(metadata: GgufMetadata, file: string): GgufTokenizer {
  const reader = new MetadataReader(metadata, file);
  const kind = reader.string('tokenizer.ggml.model');
  const whole = reader.string('tokenizer.huggingface.json');
  if (kind !== 'gpt2' && kind !== 'llama' && whole === undefined) {
    reader.throwComplaints();
    return {
      kind: 'unknown',
      reason: `its tokenizer is of kind ${JSON.stringify(kind ?? 'none')}, not gpt2 or llama`,
    };
  }
  const vocabulary = readVocabulary(reader);
  const special = readSpecial(reader, vocabulary);
  const config = readConfig(reader, special);
  if (whole !== undefined) {
    const tokenizer = parseJson(whole, `${file}, tokenizer.huggingface.json`);
    if (!isJsonObject(tokenizer)) reader.complain('tokenizer.huggingface.json', 'a JSON object');
    reader.throwComplaints();
    return { kind: 'files', tokenizer: tokenizer as JsonObject, config };
  }
  const built =
    kind === 'gpt2'
      ? buildByteLevel(reader, vocabulary, special)
      : buildSentencePiece(reader, vocabulary, special);
  reader.throwComplaints();
  return typeof built === 'string'
    ? { kind: 'unknown', reason: built }
    : { kind: 'files', tokenizer: built, config };
}

function readVocabulary(reader: MetadataReader): Vocabulary {
  const tokens = reader.strings('tokenizer.ggml.tokens') ?? [];
  if (tokens.length === 0) reader.complain('tokenizer.ggml.tokens', 'an array of at least one string');
  const types =
    reader.numbers('tokenizer.ggml.token_type') ?? new Int32Array(tokens.length).fill(TOKEN_TYPES.normal);
  if (types.length !== tokens.length) reader.complain('tokenizer.ggml.token_type', `${tokens.length} types`);
  return { tokens, types };
}

type SpecialTokens = Readonly<Partial<Record<(typeof SPECIAL)[number], string>>>;

function readSpecial(reader: MetadataReader, { tokens }: Vocabulary): SpecialTokens {
  const special: Partial<Record<(typeof SPECIAL)[number], string>> = {};
  for (const name of SPECIAL) {
    const key = `tokenizer.ggml.${name}_token_id`;
    if (!reader.has(key)) continue;
    const id = reader.number(key);
    // llama.cpp warns of ids beyond the table and goes on without them.
    if (id in tokens) special[name] = tokens[id];
  }
  return special;
}

function readConfig(reader: MetadataReader, special: SpecialTokens): JsonObject {
  const config: Record<string, unknown> = { tokenizer_class: 'PreTrainedTokenizerFast' };
  for (const name of SPECIAL) if (special[name] !== undefined) config[CONFIG_NAMES[name]] = special[name];
  config.clean_up_tokenization_spaces = false;
  const named = reader.strings('tokenizer.chat_templates') ?? [];
  const standard = reader.string('tokenizer.chat_template');
  if (named.length === 0) return standard === undefined ? config : { ...config, chat_template: standard };
  const templates = named.map((name) => ({
    name,
    template: reader.string(`tokenizer.chat_template.${name}`) ?? '',
  }));
  if (standard !== undefined) templates.unshift({ name: 'default', template: standard });
  return { ...config, chat_template: templates };
}

/** The part that both kinds of tokenizer.json share. `plain` gives the text of an added token. */
function assemble(
  reader: MetadataReader,
  { tokens, types }: Vocabulary,
  special: SpecialTokens,
  parts: { readonly addBos: boolean; readonly model: JsonObject; readonly steps: JsonObject },
): JsonObject {
  const vocab: Record<string, number> = {};
  const added: JsonObject[] = [];
  tokens.forEach((content, id) => {
    const type = types[id];
    const isSpecial = type === TOKEN_TYPES.control || type === TOKEN_TYPES.unknown;
    if (isSpecial || type === TOKEN_TYPES.userDefined)
      added.push({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: isSpecial,
      });
    else if (type !== TOKEN_TYPES.unused || !PADDING_TOKEN.test(content)) vocab[content] = id;
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    ...parts.steps,
    post_processor: postProcessor(reader, tokens, special, parts.addBos),
    model: { ...parts.model, vocab: { ...vocab, ...unknownEntry(parts.model, tokens) } },
  };
}

/** The unknown token must be in the vocabulary too. */
function unknownEntry(model: JsonObject, tokens: readonly string[]): Record<string, number> {
  return typeof model.unk_token === 'string' ? { [model.unk_token]: tokens.indexOf(model.unk_token) } : {};
}

function postProcessor(
  reader: MetadataReader,
  tokens: readonly string[],
  special: SpecialTokens,
  addBosDefault: boolean,
): JsonObject {
  const before = reader.boolean('tokenizer.ggml.add_bos_token', addBosDefault) ? [special.bos] : [];
  const after = reader.boolean('tokenizer.ggml.add_eos_token', false) ? [special.eos] : [];
  const around = [...before, ...after].filter((token) => token !== undefined);
  const piece = (token: string | undefined, typeId: number): JsonObject[] =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id: typeId } }];
  const one = (id: 'A' | 'B', typeId: number): JsonObject[] => [
    ...before.flatMap((token) => piece(token, typeId)),
    { Sequence: { id, type_id: typeId } },
    ...after.flatMap((token) => piece(token, typeId)),
  ];
  return {
    type: 'TemplateProcessing',
    single: one('A', 0),
    pair: [...one('A', 0), ...one('B', 1)],
    special_tokens: Object.fromEntries(
      around.map((token) => [token, { id: token, ids: [tokens.indexOf(token)], tokens: [token] }]),
    ),
  };
}

function buildByteLevel(
  reader: MetadataReader,
  vocabulary: Vocabulary,
  special: SpecialTokens,
): JsonObject | string {
  const name = reader.string('tokenizer.ggml.pre') ?? 'default';
  const rule = preTokenizerByName(name);
  if (rule === undefined) return `its pre-tokenizer is llama.cpp's "${name}", which halfbyte does not know`;
  const merges = reader.strings('tokenizer.ggml.merges') ?? [];
  return assemble(reader, vocabulary, special, {
    addBos: rule.ignoreMerges === true,
    steps: {
      normalizer: null,
      pre_tokenizer: preTokenizerJson(rule),
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: rule.ignoreMerges === true,
      merges: merges.map((merge) => {
        const at = merge.indexOf(' ', 1);
        return [merge.slice(0, at), merge.slice(at + 1)];
      }),
    },
  });
}

function buildSentencePiece(
  reader: MetadataReader,
  vocabulary: Vocabulary,
  special: SpecialTokens,
): JsonObject {
  const { tokens, types } = vocabulary;
  const scores = reader.numbers('tokenizer.ggml.scores') ?? new Float32Array(tokens.length);
  if (scores.length !== tokens.length) reader.complain('tokenizer.ggml.scores', `${tokens.length} scores`);
  const unknown = tokens.find((_, id) => types[id] === TOKEN_TYPES.unknown);
  return assemble(reader, vocabulary, special, {
    addBos: true,
    steps: spaceMarkingJson(reader.boolean('tokenizer.ggml.add_space_prefix', true)),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      merges: mergesFromScores(tokens, types, scores),
    },
  });
}
