import { Tokenizer } from '@huggingface/tokenizers';
import { FormatError, UserError } from '../core/errors.js';
import { isJsonObject } from '../io/json.js';
import type { JsonObject } from '../io/json.js';
import type { CutRule } from './cut-rules.js';
import { ANCHOR, findCutRule, lastCut } from './cut-rules.js';

/**
 * Characters of a piece. The library's BPE walks a whole "word", which for SentencePiece-style files is the whole piece,
 * with a cost that grows faster than its length (a megabyte takes 20 to 30 seconds in one go).
 */
const PIECE_CHARS = 4096;

/**
 * What we use of the library. Its own declarations import without file extensions, which this compiler setting cannot
 * follow; drop this when they do.
 */
interface LibraryTokenizer {
  encode(
    text: string,
    options: { add_special_tokens: boolean },
  ): { ids: (number | undefined | null)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
}
const LIBRARY = Tokenizer as unknown as new (tokenizer: object, config: object) => LibraryTokenizer;

/** Text → token ids, without special tokens. */
export interface TextTokenizer {
  /** Largest token id + 1, added tokens included. */
  readonly vocabularySize: number;
  /** Ids of a text; long ones are cut only where the ids cannot change (cut-rules.ts). */
  encode(text: string): Uint32Array;
  /**
   * Ids of one text that arrives in chunks, as they become certain. Memory: a chunk and a piece; for tokenizers that cannot
   * be cut, the whole text.
   */
  encodeStream(
    chunks: AsyncIterable<string> | Iterable<string>,
  ): AsyncGenerator<Uint32Array, void, undefined>;
  decode(ids: Uint32Array): string;
}

export interface TokenizerOptions {
  /** Parsed tokenizer.json. */
  readonly tokenizer: unknown;
  /** Parsed tokenizer_config.json, where there is one. */
  readonly config?: unknown;
  /** Rows of the model's embedding table: ids beyond it are an error. */
  readonly modelVocabSize?: number;
  /** Name of the file, for messages. */
  readonly file?: string;
}

/**
 * A tokenizer from its files. FormatError when tokenizer.json has no vocabulary or the library refuses it; encoding
 * throws UserError for ids beyond the model's vocabulary and for text that has no ids.
 */
export function createTokenizer(options: TokenizerOptions): TextTokenizer {
  const file = options.file ?? 'tokenizer.json';
  const json = requireVocabulary(options.tokenizer, file);
  const config: JsonObject = isJsonObject(options.config) ? options.config : {};
  const library = buildTokenizer(json, config, file);
  const rule = findCutRule(json, config);
  const encodeRaw = (text: string): Uint32Array => {
    const { ids, tokens } = library.encode(text, { add_special_tokens: false });
    return checkIds(ids, tokens, options.modelVocabSize, file);
  };
  const pieces = createPieceEncoder(rule, encodeRaw);
  return {
    vocabularySize: countIds(json),
    encode: (text) => joinIds([...pieces.encodeAll(text)]),
    encodeStream: (chunks) => encodeStream(chunks, pieces, rule),
    decode: (ids) =>
      ids.length === 0 ? '' : library.decode(Array.from(ids), { skip_special_tokens: false }),
  };
}

/** Joins id arrays. */
export function joinIds(parts: readonly Uint32Array[]): Uint32Array {
  const joined = new Uint32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

interface PieceEncoder {
  encodePiece(piece: string, isFirst: boolean): Uint32Array;
  encodeAll(text: string): Generator<Uint32Array, void, undefined>;
}

function createPieceEncoder(rule: CutRule, encodeRaw: (text: string) => Uint32Array): PieceEncoder {
  const anchorIds = rule === 'anchored' ? encodeRaw(ANCHOR).length : 0;
  const encodePiece = (piece: string, isFirst: boolean): Uint32Array =>
    isFirst || rule !== 'anchored' ? encodeRaw(piece) : encodeRaw(ANCHOR + piece).subarray(anchorIds);
  return {
    encodePiece,
    *encodeAll(text) {
      let rest = text;
      let isFirst = true;
      for (let cut = nextCut(rule, rest); cut > 0; cut = nextCut(rule, rest)) {
        yield encodePiece(rest.slice(0, cut), isFirst);
        rest = rest.slice(cut);
        isFirst = false;
      }
      if (rest !== '') yield encodePiece(rest, isFirst);
    },
  };
}

/** Where to end the next piece; 0 when the rest is one piece. */
function nextCut(rule: CutRule, text: string): number {
  if (rule === 'whole') return 0;
  // Text without cuts for a while (code, Chinese) makes a longer piece.
  for (let limit = PIECE_CHARS; limit < text.length; limit *= 2) {
    const cut = lastCut(text, limit);
    if (cut > 0) return cut;
  }
  return 0;
}

async function* encodeStream(
  chunks: AsyncIterable<string> | Iterable<string>,
  pieces: PieceEncoder,
  rule: CutRule,
): AsyncGenerator<Uint32Array, void, undefined> {
  // A growing string of what has no certain cut yet; JavaScript joins strings lazily, so appending is cheap.
  let rest = '';
  let isFirst = true;
  for await (const chunk of chunks) {
    rest += chunk;
    for (let cut = nextCut(rule, rest); cut > 0; cut = nextCut(rule, rest)) {
      yield pieces.encodePiece(rest.slice(0, cut), isFirst);
      rest = rest.slice(cut);
      isFirst = false;
    }
  }
  if (rest !== '') yield pieces.encodePiece(rest, isFirst);
}

function requireVocabulary(json: unknown, file: string): JsonObject {
  const advice = 'the tokenizer of this checkpoint is missing or damaged: fetch tokenizer.json again';
  if (!isJsonObject(json)) throw new FormatError('a JSON object expected', { file, advice });
  const { model } = json;
  const vocab = isJsonObject(model) ? model.vocab : undefined;
  const size = Array.isArray(vocab) ? vocab.length : isJsonObject(vocab) ? Object.keys(vocab).length : 0;
  if (size === 0) throw new FormatError('the tokenizer has no vocabulary (model.vocab)', { file, advice });
  return json;
}

function buildTokenizer(json: JsonObject, config: JsonObject, file: string): LibraryTokenizer {
  // The library insists on keys that the format lets a file leave out.
  const complete = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...json,
    added_tokens: json.added_tokens ?? [],
  };
  try {
    return new LIBRARY(complete, config);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`the tokenizer cannot be built: ${reason}`, {
      file,
      cause,
      advice: 'use a checkpoint whose tokenizer.json is a BPE, WordPiece or Unigram tokenizer',
    });
  }
}

function countIds(json: JsonObject): number {
  const vocab = isJsonObject(json.model) ? json.model.vocab : undefined;
  let largest = Array.isArray(vocab) ? vocab.length - 1 : -1;
  if (isJsonObject(vocab)) for (const id of Object.values(vocab)) largest = Math.max(largest, Number(id));
  if (Array.isArray(json.added_tokens))
    for (const token of json.added_tokens as unknown[])
      if (isJsonObject(token)) largest = Math.max(largest, Number(token.id));
  return largest + 1;
}

/** The library gives undefined for what it has no id for. */
function checkIds(
  ids: readonly (number | undefined | null)[],
  tokens: readonly string[],
  modelVocabSize: number | undefined,
  file: string,
): Uint32Array {
  const checked = new Uint32Array(ids.length);
  const missing = new Set<string>();
  const beyond = new Set<number>();
  ids.forEach((id, i) => {
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) missing.add(JSON.stringify(tokens[i]));
    else if (modelVocabSize !== undefined && id >= modelVocabSize) beyond.add(id);
    else checked[i] = id;
  });
  if (missing.size > 0)
    throw new UserError(`${file}: the tokenizer has no id for ${listSome([...missing])}`, {
      advice: 'use text in the language the tokenizer was made for',
    });
  if (beyond.size > 0)
    throw new UserError(
      `${file}: token ids ${listSome([...beyond].map(String))} are beyond the model's vocabulary of ${modelVocabSize}`,
      { advice: 'use the tokenizer that belongs to this model' },
    );
  return checked;
}

function listSome(items: readonly string[]): string {
  return items.length > 20
    ? `${items.slice(0, 20).join(', ')} and ${items.length - 20} more`
    : items.join(', ');
}
