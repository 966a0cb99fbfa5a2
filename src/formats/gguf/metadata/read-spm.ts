import type { JsonObject } from '../../../io/json.js';
import { NO_MERGE_SCORE } from './spm-metadata.js';
import { TOKEN_TYPES } from './token-list.js';

/**
 * Merges of a SentencePiece-style BPE from its scores: llama.cpp joins any two neighbours that make a token, best score
 * first, so each way to cut a token into two tokens is a merge, ranked by the token's score; among cuts of one token
 * those of earlier tokens lead, as in the converters that made tokenizer.json files of such models.
 */
export function mergesFromScores(
  tokens: readonly string[],
  types: ArrayLike<number>,
  scores: ArrayLike<number>,
): (readonly [string, string])[] {
  const idOf = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (types[id] === TOKEN_TYPES.normal) idOf.set(token, id);
  });
  const ranked = [...idOf.values()]
    .filter((id) => scores[id] > NO_MERGE_SCORE)
    .sort((a, b) => scores[b] - scores[a] || a - b);
  return ranked.flatMap((id) => cutsOf(tokens[id], idOf));
}

function cutsOf(token: string, idOf: ReadonlyMap<string, number>): (readonly [string, string])[] {
  const characters = Array.from(token);
  const cuts: { readonly pair: readonly [string, string]; readonly left: number; readonly right: number }[] =
    [];
  for (let at = 1; at < characters.length; at++) {
    const pair = [characters.slice(0, at).join(''), characters.slice(at).join('')] as const;
    const left = idOf.get(pair[0]);
    const right = idOf.get(pair[1]);
    if (left !== undefined && right !== undefined) cuts.push({ pair, left, right });
  }
  return cuts.sort((a, b) => a.left - b.left || a.right - b.right).map(({ pair }) => pair);
}

/** Normalizer, pre-tokenizer and decoder that mark spaces with ▁ as llama.cpp does: one before each piece of text. */
export function spaceMarkingJson(prefix: boolean): JsonObject {
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const steps = prefix ? [{ type: 'Prepend', prepend: '▁' }, replace] : [replace];
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ];
  return {
    normalizer: { type: 'Sequence', normalizers: steps },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders },
  };
}
