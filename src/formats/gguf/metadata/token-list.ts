import { isJsonObject } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';

/** llama.cpp's token types (llama_token_type). */
export const TOKEN_TYPES = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly singleWord: boolean;
  readonly normalized: boolean;
}

/** Tokens in id order as llama.cpp keeps them. */
export interface TokenList {
  readonly tokens: string[];
  /** TOKEN_TYPES of each. */
  readonly types: Int32Array;
  readonly problems: string[];
}

/** Names that llama.cpp and its converter treat as control tokens though a tokenizer.json calls them ordinary. */
const CONTROL_LOOKING = /^(<\|.*\|>|<｜.*｜>|<unused\d*>|<pad>|<mask>|<2mass>|\[@BOS@\])$/s;

const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;

export function readAddedTokens(tokenizer: JsonObject): AddedToken[] {
  const added: unknown[] = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : [];
  return added.filter(isJsonObject).map((token) => ({
    id: Number(token.id),
    content: String(token.content),
    special: token.special === true,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
    singleWord: token.single_word === true,
    // transformers' default where the key is missing.
    normalized: token.normalized === undefined ? token.special !== true : token.normalized === true,
  }));
}

/** model.vocab of tokenizer.json by token text; empty where it is no object. */
export function readVocabulary(tokenizer: JsonObject): ReadonlyMap<string, number> {
  const vocab = isJsonObject(tokenizer.model) ? tokenizer.model.vocab : undefined;
  if (!isJsonObject(vocab)) return new Map();
  return new Map(Object.entries(vocab).map(([text, id]) => [text, Number(id)]));
}

/**
 * The token table [vocabSize]: model.vocab in its own alphabet, added tokens as plain text, rows of the embedding without
 * a token as "[PAD…]". `sentencePiece`: spaces are ▁ and bytes are tokens such as <0x0A>.
 */
export function buildTokenList(
  vocabulary: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  options: {
    readonly vocabSize: number;
    readonly sentencePiece: boolean;
    readonly unknown: string | undefined;
  },
): TokenList {
  const { vocabSize, sentencePiece } = options;
  const tokens = new Array<string | undefined>(vocabSize).fill(undefined);
  const types = new Int32Array(vocabSize).fill(TOKEN_TYPES.unused);
  const beyond: number[] = [];
  const put = (id: number, text: string, type: number): void => {
    if (!Number.isSafeInteger(id) || id < 0 || id >= vocabSize) {
      beyond.push(id);
      return;
    }
    tokens[id] = text;
    types[id] = type;
  };
  for (const [text, id] of vocabulary)
    put(id, text, sentencePiece && BYTE_TOKEN.test(text) ? TOKEN_TYPES.byte : TOKEN_TYPES.normal);
  for (const token of added) {
    const type =
      token.special || CONTROL_LOOKING.test(token.content) ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined;
    // llama.cpp searches user-defined tokens in the text as it comes, with spaces.
    const plain = type === TOKEN_TYPES.userDefined && sentencePiece && token.normalized;
    put(token.id, plain ? token.content.replaceAll('▁', ' ') : token.content, type);
  }
  const unknownId = tokens.indexOf(options.unknown);
  if (sentencePiece && options.unknown !== undefined && unknownId >= 0)
    types[unknownId] = TOKEN_TYPES.unknown;
  const problems = [...describeBeyond(beyond, vocabSize)];
  const complete = tokens.map((token, id) => token ?? `[PAD${id}]`);
  problems.push(...describeDuplicates(complete));
  return { tokens: complete, types, problems };
}

function describeBeyond(ids: readonly number[], vocabSize: number): string[] {
  if (ids.length === 0) return [];
  const shown = ids.slice(0, 10).join(', ');
  return [
    `GGUF: ${ids.length} token ids of tokenizer.json are beyond the model's ${vocabSize} embedding rows: ${shown}`,
  ];
}

/** llama.cpp stops with a failed assertion when two ids have the same text. */
function describeDuplicates(tokens: readonly string[]): string[] {
  const first = new Map<string, number>();
  const duplicates: string[] = [];
  tokens.forEach((token, id) => {
    const other = first.get(token);
    if (other === undefined) first.set(token, id);
    else duplicates.push(`${JSON.stringify(token)} (${other} and ${id})`);
  });
  return duplicates.length === 0
    ? []
    : [`GGUF: llama.cpp wants every token text once; twice are: ${duplicates.slice(0, 10).join(', ')}`];
}
