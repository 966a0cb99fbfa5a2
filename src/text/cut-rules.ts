import { isJsonObject } from '../io/json.js';
import type { JsonObject } from '../io/json.js';

/**
 * Where a long text may be cut so that its pieces, tokenized apart, give the tokens of the whole. One place serves both
 * common families of tokenizers: before a single space between two letters ("…e| w…").
 *
 * Byte-level BPE (GPT-2, Llama 3, Qwen): the pre-tokenizer's pattern is matched left to right without look-behind. No
 * alternative of a known pattern holds a letter followed by a space, so a match ends at the cut; its only look-ahead,
 * \s+(?!\S), concerns runs of white space, and none touches the cut. So the matches on the left are those of the left
 * piece alone, and the match that starts at the cut is the first of the right piece. NFC never composes across a space.
 *
 * SentencePiece-style BPE (Llama 2, Mistral; a space becomes ▁): every merge yields an entry of the vocabulary. Where no
 * entry has ▁ after another character, no merge ever crosses the boundary before a ▁ that follows a letter, and merges on
 * the two sides do not see each other. A text gets a ▁ put before it, which pieces after the first must not get: they are
 * tokenized behind an anchor letter, whose tokens are dropped (the boundary after the anchor is itself such a cut).
 *
 * Anything else (Unigram, WordPiece, unknown patterns or normalizers, dropout) is tokenized whole.
 */
export type CutRule = 'whole' | 'plain' | 'anchored';

/** Put before pieces of 'anchored' tokenizers. */
export const ANCHOR = 'a';

const SPACE_MARK = '▁';

/** Patterns of `Split` pre-tokenizers that were checked by hand against the argument above. */
const KNOWN_PATTERNS: readonly string[] = [
  // Llama 3.
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // Qwen 2, 2.5 and 3.
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // GPT-2, when written out.
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
];

/** Chooses the rule that provably holds for a parsed tokenizer.json and tokenizer_config.json. */
export function findCutRule(tokenizer: JsonObject, config: JsonObject): CutRule {
  const { model } = tokenizer;
  if (!isJsonObject(model) || model.type !== 'BPE' || !isJsonObject(model.vocab)) return 'whole';
  if (isSet(model.dropout) || isSet(model.continuing_subword_prefix) || isSet(model.end_of_word_suffix))
    return 'whole';
  if (config.remove_space === true || config.do_lowercase_and_remove_accent === true) return 'whole';
  if (!addedTokensAllowCuts(tokenizer.added_tokens)) return 'whole';
  if (isByteLevel(tokenizer)) return 'plain';
  const anchored = marksSpaces(tokenizer) && model.ignore_merges !== true && spaceMarkOnlyLeads(model.vocab);
  return anchored ? 'anchored' : 'whole';
}

/** Index of the last cut in text (0, limit], or 0 when there is none: the cut is before text[index], a space. */
export function lastCut(text: string, limit: number): number {
  for (let i = Math.min(limit, text.length - 2); i > 0; i--)
    if (text[i] === ' ' && isLetter(text[i - 1]) && isLetter(text[i + 1])) return i;
  return 0;
}

/** Letters of the basic plane; half of a surrogate pair is none. */
function isLetter(char: string): boolean {
  return /\p{L}/u.test(char);
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '' && value !== 0;
}

/** An added token must neither span a cut nor swallow the white space beside one. */
function addedTokensAllowCuts(added: unknown): boolean {
  if (!isSet(added)) return true;
  if (!Array.isArray(added)) return false;
  return added.every((token: unknown) => {
    if (!isJsonObject(token) || typeof token.content !== 'string') return false;
    const { content } = token;
    if (/\p{L} \p{L}/u.test(content) || content.startsWith(' ') || content.endsWith(' ')) return false;
    if (token.lstrip === true && /^\p{L}/u.test(content)) return false;
    return !(token.rstrip === true && /\p{L}$/u.test(content));
  });
}

function isByteLevel(tokenizer: JsonObject): boolean {
  const { normalizer, pre_tokenizer: outer } = tokenizer;
  if (isSet(normalizer) && !(isJsonObject(normalizer) && normalizer.type === 'NFC')) return false;
  if (!isJsonObject(outer)) return false;
  if (outer.type === 'ByteLevel') return outer.add_prefix_space === false && outer.use_regex !== false;
  if (outer.type !== 'Sequence' || !Array.isArray(outer.pretokenizers)) return false;
  const [split, bytes, ...others] = outer.pretokenizers as unknown[];
  if (others.length > 0 || !isJsonObject(split) || !isJsonObject(bytes)) return false;
  const pattern = isJsonObject(split.pattern) ? split.pattern.Regex : undefined;
  return (
    split.type === 'Split' &&
    split.behavior === 'Isolated' &&
    split.invert !== true &&
    typeof pattern === 'string' &&
    KNOWN_PATTERNS.includes(pattern) &&
    bytes.type === 'ByteLevel' &&
    bytes.add_prefix_space === false &&
    bytes.use_regex === false
  );
}

/** True when all that normalizer and pre-tokenizer do is to turn spaces into ▁ and to put one before the text. */
function marksSpaces({ normalizer, pre_tokenizer: pre }: JsonObject): boolean {
  if (!isSet(normalizer))
    return isJsonObject(pre) && pre.type === 'Metaspace' && pre.replacement === SPACE_MARK;
  if (isSet(pre) || !isJsonObject(normalizer)) return false;
  const steps = normalizer.type === 'Sequence' ? normalizer.normalizers : [normalizer];
  if (!Array.isArray(steps)) return false;
  const others = (steps as unknown[]).filter((step) => !isPrepend(step));
  return others.length === 1 && isSpaceReplace(others[0]);
}

function isPrepend(step: unknown): boolean {
  return isJsonObject(step) && step.type === 'Prepend' && step.prepend === SPACE_MARK;
}

function isSpaceReplace(step: unknown): boolean {
  if (!isJsonObject(step) || step.type !== 'Replace' || step.content !== SPACE_MARK) return false;
  return isJsonObject(step.pattern) && step.pattern.String === ' ';
}

/** True when ▁ and the anchor are in the vocabulary and no entry has it after another character. */
function spaceMarkOnlyLeads(vocab: JsonObject): boolean {
  return SPACE_MARK in vocab && ANCHOR in vocab && !Object.keys(vocab).some((entry) => /[^▁]▁/u.test(entry));
}
