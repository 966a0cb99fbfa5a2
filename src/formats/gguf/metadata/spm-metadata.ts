import { isJsonObject } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';
import { readMerges } from './bpe-metadata.js';
import type { PartBuilder } from './metadata-part.js';
import type { TokenList } from './token-list.js';
import { TOKEN_TYPES } from './token-list.js';

const SPACE_MARK = '▁';

/** Below the score of every merge: tokens that no merge makes. */
export const NO_MERGE_SCORE = -1e6;

/** How a SentencePiece-style tokenizer treats spaces. */
export interface SpaceMarking {
  /** A ▁ is put before the text. */
  readonly prefix: boolean;
  /** Only before the first piece of text, not after special tokens too. */
  readonly firstOnly: boolean;
  /** Words are cut apart before merging. */
  readonly splits: boolean;
  /** Other steps of the normalizer or pre-tokenizer. */
  readonly others: readonly string[];
}

/** How tokenizer.json marks spaces with ▁, or undefined when it does not: then it is no SentencePiece-style BPE. */
export function findSpaceMarking(tokenizer: JsonObject): SpaceMarking | undefined {
  const steps = [
    ...flatten(tokenizer.normalizer, 'normalizers'),
    ...flatten(tokenizer.pre_tokenizer, 'pretokenizers'),
  ];
  const metaspace = steps.find((step) => step.type === 'Metaspace');
  const replaces = steps.some(isSpaceReplace);
  if (metaspace === undefined && !replaces) return undefined;
  const prepends = steps.some((step) => step.type === 'Prepend' && step.prepend === SPACE_MARK);
  const scheme =
    metaspace?.prepend_scheme ??
    (metaspace === undefined || metaspace.add_prefix_space === false ? 'never' : 'always');
  return {
    prefix: prepends || scheme !== 'never',
    firstOnly: !prepends && scheme === 'first',
    splits: metaspace !== undefined && metaspace.split !== false,
    others: steps
      .filter((step) => step.type !== 'Metaspace' && step.type !== 'Prepend' && !isSpaceReplace(step))
      .map((step) => String(step.type)),
  };
}

function flatten(step: unknown, key: string): JsonObject[] {
  if (!isJsonObject(step)) return [];
  if (step.type !== 'Sequence') return [step];
  const inner: unknown[] = Array.isArray(step[key]) ? step[key] : [];
  return inner.flatMap((item) => flatten(item, key));
}

function isSpaceReplace(step: JsonObject): boolean {
  return (
    step.type === 'Replace' &&
    step.content === SPACE_MARK &&
    isJsonObject(step.pattern) &&
    step.pattern.String === ' '
  );
}

/**
 * Keys of a SentencePiece-style BPE. llama.cpp merges whatever two neighbours make a token, best score first; so a token's
 * score is minus the rank of the first merge that makes it.
 */
export function addSentencePiece(
  part: PartBuilder,
  model: JsonObject,
  list: TokenList,
  marking: SpaceMarking,
): void {
  part.string('tokenizer.ggml.model', 'llama');
  part.string('tokenizer.ggml.pre', 'default');
  const { scores, contiguous } = rankScores(model, list);
  part.add('tokenizer.ggml.scores', { type: 'array', items: 'f32', values: scores });
  part.bool('tokenizer.ggml.add_space_prefix', marking.prefix);
  noteDifferences(part, model, list, marking);
  if (!contiguous)
    part.notes.push(
      'GGUF: merges of one token lie apart in this tokenizer; llama.cpp ranks tokens, not merges: rare words may get other ids',
    );
}

function rankScores(
  model: JsonObject,
  list: TokenList,
): { readonly scores: Float32Array; readonly contiguous: boolean } {
  const rankOf = new Map<string, number>();
  let contiguous = true;
  let previous = '';
  readMerges(model).forEach(([left, right], rank) => {
    const token = left + right;
    if (!rankOf.has(token)) rankOf.set(token, rank);
    else if (token !== previous) contiguous = false;
    previous = token;
  });
  const scores = Float32Array.from(list.tokens, (token, id) => {
    const type = list.types[id];
    if (type === TOKEN_TYPES.byte || type === TOKEN_TYPES.unknown || type === TOKEN_TYPES.control) return 0;
    const rank = rankOf.get(token);
    return rank === undefined ? NO_MERGE_SCORE : -rank;
  });
  return { scores, contiguous };
}

function noteDifferences(part: PartBuilder, model: JsonObject, list: TokenList, marking: SpaceMarking): void {
  const bytes = list.types.reduce((count, type) => count + (type === TOKEN_TYPES.byte ? 1 : 0), 0);
  if (model.byte_fallback !== true || bytes !== 256)
    part.problems.push(
      `GGUF: llama.cpp stops at characters without a token unless all 256 byte tokens <0x00> … <0xFF> exist; this tokenizer has ${bytes} of them` +
        (model.byte_fallback === true ? '' : ' and "byte_fallback" is not true'),
    );
  if (model.ignore_merges === true)
    part.notes.push('GGUF: this tokenizer takes words that are tokens without merges; llama.cpp merges');
  if (marking.firstOnly)
    part.notes.push(
      'GGUF: llama.cpp puts a space before the text after each special token too, this tokenizer at the start only',
    );
  if (
    marking.splits &&
    list.tokens.some((token, id) => isOrdinary(list, id) && token.lastIndexOf(SPACE_MARK) > 0)
  )
    part.notes.push(
      'GGUF: this tokenizer never merges across spaces, llama.cpp does where a token with inner spaces exists: runs of spaces may get other ids',
    );
  for (const other of marking.others)
    part.notes.push(
      `GGUF: llama.cpp does not run the step "${other}" of this tokenizer; text that it changes gets other ids`,
    );
}

function isOrdinary(list: TokenList, id: number): boolean {
  return list.types[id] === TOKEN_TYPES.normal;
}
