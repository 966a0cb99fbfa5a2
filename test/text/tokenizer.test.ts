/**
 * Plan: tokenizing in pieces, in a stream of any chunking, and whole gives the same ids, for a byte-level and a
 * SentencePiece-style tokenizer made here (each with its look-ahead, prefix and added-token traps) and for the trained one
 * of the fixtures; a rule that does not hold falls back to the whole text. Broken tokenizers and foreign ids are errors.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import { FormatError, UserError } from '../../src/core/errors.js';
import { findCutRule, lastCut } from '../../src/text/cut-rules.js';
import { createTokenizer } from '../../src/text/index.js';
import type { TextTokenizer } from '../../src/text/index.js';

type Json = Record<string, unknown>;

/** GPT-2's printable stand-ins for bytes. */
function byteChars(): string[] {
  const chars: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    chars.push(String.fromCodePoint(printable ? byte : next++));
  }
  return chars;
}

/** A BPE model whose merges build the words given, character by character. */
function bpe(alphabet: readonly string[], words: readonly string[], extra: Json = {}): Json {
  const vocab: Record<string, number> = {};
  for (const char of alphabet) vocab[char] ??= Object.keys(vocab).length;
  const merges: [string, string][] = [];
  for (const word of words) {
    let built = '';
    for (const char of word) {
      const joined = built + char;
      if (built !== '' && vocab[joined] === undefined) {
        merges.push([built, char]);
        vocab[joined] = Object.keys(vocab).length;
      }
      built = joined;
    }
  }
  return { type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, vocab, merges, ...extra };
}

const WORDS = ['the', 'then', 'he', 'her', 'cat', 'at', 'on', 'once', 'in', 'sat', 'and', 'nd'];

function byteLevel(changes: Json = {}): Json {
  const words = [...WORDS.map((word) => `Ġ${word}`), ...WORDS, 'ĊĊ', 'ĠĠ', 'ĠĠĠ', 'ĊĠĠ'];
  return {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: bpe(byteChars(), words),
    ...changes,
  };
}

const PIECES_ALPHABET = ['<unk>', '▁', '\n', ...'abcdefghijklmnopqrstuvwxyz.,!ABCTSO<>0123456789'.split('')];

function sentencePiece(changes: Json = {}, words: readonly string[] = []): Json {
  const known = [...WORDS.map((word) => `▁${word}`), ...WORDS, '▁▁', '▁▁▁', '.▁'.slice(0, 1), ...words];
  return {
    added_tokens: [{ id: 900, content: '<s>', normalized: false, special: true }],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: bpe(PIECES_ALPHABET, known, { unk_token: '<unk>' }),
    ...changes,
  };
}

/** Seeded text with runs of white space, punctuation, digits and, where asked, an added token. */
function makeText(words: number, seed: number, special = ''): string {
  const rng = createRng(seed);
  const between = [
    ' ',
    ' ',
    ' ',
    ' ',
    ' ',
    '\n',
    '\n\n',
    '  ',
    '   ',
    ' \n',
    '\n ',
    '. ',
    ', ',
    '!',
    "'s ",
    ' 7 ',
    '\t',
  ];
  let text = rng.int(2) === 0 ? ' ' : '';
  for (let i = 0; i < words; i++) {
    text += WORDS[rng.int(WORDS.length)] + between[rng.int(between.length)];
    if (special !== '' && rng.int(40) === 0) text += special;
  }
  return text;
}

function chunksOf(text: string, size: number): string[] {
  return Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
    text.slice(i * size, (i + 1) * size),
  );
}

async function streamIds(tokenizer: TextTokenizer, chunks: readonly string[]): Promise<number[]> {
  const ids: number[] = [];
  for await (const part of tokenizer.encodeStream(chunks)) ids.push(...part);
  return ids;
}

/** The same tokenizer, never cut: an added token that spans letter, space, letter rules pieces out. */
function uncut(json: Json): Json {
  const added = json.added_tokens as Json[];
  return {
    ...json,
    added_tokens: [...added, { id: 990, content: 'zq zq', special: true, normalized: false }],
  };
}

const llama3Split = {
  type: 'Sequence',
  pretokenizers: [
    {
      type: 'Split',
      pattern: {
        Regex:
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      },
      behavior: 'Isolated',
      invert: false,
    },
    { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  ],
};
const specialBytes = [{ id: 900, content: '<s>', normalized: false, special: true }];
const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false };

describe.each([
  ['byte level, GPT-2 pattern', byteLevel({ added_tokens: specialBytes }), 'plain'],
  [
    'byte level, Llama 3 pattern',
    byteLevel({ added_tokens: specialBytes, pre_tokenizer: llama3Split }),
    'plain',
  ],
  ['SentencePiece style', sentencePiece(), 'anchored'],
  [
    'SentencePiece style, Metaspace',
    sentencePiece({ normalizer: null, pre_tokenizer: metaspace }),
    'anchored',
  ],
] as const)('%s', (_name, json, rule) => {
  it('gives the same ids in pieces, streamed, and whole', async () => {
    expect(findCutRule(json, {})).toBe(rule);
    expect(findCutRule(uncut(json), {})).toBe('whole');
    const tokenizer = createTokenizer({ tokenizer: json });
    const reference = createTokenizer({ tokenizer: uncut(json) });
    for (const special of ['', '<s>', ' <s> ']) {
      const text = makeText(2300, 11, special).replaceAll('\t', rule === 'plain' ? '\t' : ' ');
      expect(text.length).toBeGreaterThan(2 * 4096);
      const whole = Array.from(reference.encode(text));
      expect(new Set(whole).size).toBeGreaterThan(20);
      expect(Array.from(tokenizer.encode(text))).toEqual(whole);
      for (const size of [1777, 5000, 100_000])
        expect(await streamIds(tokenizer, chunksOf(text, size))).toEqual(whole);
    }
  });
});

describe('cut rules', () => {
  it('would differ at another place: control', () => {
    const tokenizer = createTokenizer({ tokenizer: byteLevel() });
    const joined = Array.from(tokenizer.encode('the\n\ncat'));
    const apart = ['the\n\n', 'cat'].flatMap((part) => Array.from(tokenizer.encode(part)));
    expect(apart).not.toEqual(joined);
  });

  it.each([
    ['Unigram', byteLevel({ model: { type: 'Unigram', vocab: [['a', 0]] } })],
    ['dropout', byteLevel({ model: bpe(byteChars(), WORDS, { dropout: 0.1 }) })],
    ['a prefix space', byteLevel({ pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } })],
    [
      'an unknown pattern',
      byteLevel({
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Split', pattern: { Regex: '\\w+ \\w+' }, behavior: 'Isolated' },
            { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
          ],
        },
      }),
    ],
    ['an unknown normalizer', byteLevel({ normalizer: { type: 'Lowercase' } })],
    ['an entry with ▁ inside', sentencePiece({}, ['on▁the'])],
    [
      'an added token that eats space',
      byteLevel({ added_tokens: [{ id: 900, content: 'tok', rstrip: true }] }),
    ],
  ])('fall back to the whole text for %s', (_name, json) => {
    expect(findCutRule(json, {})).toBe('whole');
  });

  it('cut only before a space between letters', () => {
    expect(lastCut('ab cd', 5)).toBe(2);
    expect(lastCut('ab cd ef', 6)).toBe(5);
    expect(lastCut('ab cd ef', 4)).toBe(2);
    for (const text of ['ab  cd', 'ab. cd', 'ab 1', 'ab\ncd', ' ab', 'ab ', 'abcd'])
      expect(lastCut(text, text.length)).toBe(0);
  });
});

describe('the tokenizer of the fixtures', () => {
  const json = JSON.parse(
    readFileSync(fileURLToPath(new URL('../fixtures/tiny/llama/tokenizer.json', import.meta.url)), 'utf8'),
  ) as Json;

  it('reads back what it encodes, without special tokens', () => {
    const tokenizer = createTokenizer({ tokenizer: json, modelVocabSize: 144 });
    expect(tokenizer.vocabularySize).toBe(144);
    const text = 'Anna gave Ben 12 apples (and one pear).\nThen: she ate 3!';
    const ids = tokenizer.encode(text);
    expect(ids.every((id) => id > 3)).toBe(true);
    expect(tokenizer.decode(ids)).toBe(text);
    expect(tokenizer.encode('').length).toBe(0);
    expect(tokenizer.decode(new Uint32Array())).toBe('');
  });

  it('reports ids beyond the model', () => {
    const tokenizer = createTokenizer({ tokenizer: json, modelVocabSize: 10, file: 'x/tokenizer.json' });
    expect(() => tokenizer.encode('hello')).toThrow(UserError);
    expect(() => tokenizer.encode('hello')).toThrow(/x\/tokenizer\.json: token ids .* vocabulary of 10/);
  });
});

describe('broken tokenizers', () => {
  it.each([
    [null, /a JSON object expected/],
    [{}, /no vocabulary/],
    [{ model: { type: 'BPE', vocab: {} } }, /no vocabulary/],
    [{ model: { type: 'Unigram', vocab: [] } }, /no vocabulary/],
    [byteLevel({ pre_tokenizer: { type: 'Nonsense' } }), /cannot be built/],
  ])('%#', (tokenizer, message) => {
    expect(() => createTokenizer({ tokenizer })).toThrow(message);
    expect(() => createTokenizer({ tokenizer })).toThrow(FormatError);
  });

  it('report text they have no ids for', () => {
    const model = { type: 'WordPiece', unk_token: '[UNK]', vocab: { ab: 0, cd: 1 } };
    const tokenizer = createTokenizer({
      tokenizer: byteLevel({ pre_tokenizer: { type: 'Whitespace' }, model, decoder: null }),
    });
    expect(Array.from(tokenizer.encode('ab cd'))).toEqual([0, 1]);
    expect(() => tokenizer.encode('ab zz')).toThrow(/no id for "\[UNK\]"/);
  });
});
