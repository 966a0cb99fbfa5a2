import { describe, expect, it } from 'vitest';
import { FormatError, UserError } from '../../../src/core/errors.js';
import type { GgufMetadata, GgufValue } from '../../../src/formats/gguf/gguf-value.js';
import { ggufMetadata } from '../../../src/formats/gguf/metadata/gguf-metadata.js';
import { PRE_TOKENIZERS, preTokenizerJson } from '../../../src/formats/gguf/metadata/pre-tokenizers.js';
import { readGgufTokenizer } from '../../../src/formats/gguf/metadata/read-tokenizer.js';
import { readTokenizerFiles } from '../../../src/formats/gguf/metadata/tokenizer-files.js';
import type { TokenizerFiles } from '../../../src/formats/gguf/metadata/tokenizer-files.js';
import { tokenizerMetadata } from '../../../src/formats/gguf/metadata/tokenizer-metadata.js';
import { createTextSource } from '../../../src/io/memory-source.js';
import type { JsonObject } from '../../../src/io/json.js';
import { parseModelConfig } from '../../../src/model/config.js';
import { createTokenizer } from '../../../src/text/tokenizer.js';
import { readFixture } from './metadata-fixture.js';

/**
 * Plan: the fixtures' tokenizer and a SentencePiece-style one made here, as keys and back, with the same ids for strings
 * that break tokenizers; every rule of llama.cpp recognised by what is made from it; differences told; damage refused.
 * That llama.cpp gives the same ids is shown in the conformance suite.
 */
const TEXTS = [
  '',
  ' ',
  'Hello, world! 123  456',
  ' leading and trailing ',
  "I'm   you'll\n\n\tWE'RE",
  'naïve café 漢字 العربية 👩‍👩‍👧 🇩🇪',
  'def f(x):\n\treturn x**2  # π\n',
  '</s><s> a <s></s>',
  'a'.repeat(50),
  'xy'.repeat(30),
];

function files(tokenizer: JsonObject, more: Partial<TokenizerFiles> = {}): TokenizerFiles {
  return { tokenizer, config: {}, generation: {}, templates: new Map(), ...more };
}

function value(metadata: GgufMetadata, key: string): unknown {
  const found = metadata.get(key);
  return found?.type === 'array' ? Array.from<unknown>(found.values) : found?.value;
}

function keys(source: TokenizerFiles, config: JsonObject, vocabSize: number) {
  const part = tokenizerMetadata(source, config, vocabSize);
  return { map: new Map<string, GgufValue>(part.entries), notes: part.notes, problems: part.problems };
}

function filesBack(metadata: GgufMetadata): TokenizerFiles {
  const back = readGgufTokenizer(metadata, 'x.gguf');
  if (back.kind !== 'files') throw new Error(back.reason);
  return files(back.tokenizer, { config: back.config });
}

/** "▁", letters, bytes and a few merges, with a token that two merges make ("aba"). */
function sentencePiece(): JsonObject {
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const pieces = ['▁', 'a', 'b', 'x', 'y', 'ab', '▁a', 'xy', 'aba', 'abab', '▁▁', 'xyxy'];
  const vocab = Object.fromEntries(
    ['<unk>', '<s>', '</s>', ...bytes, ...pieces].map((text, id) => [text, id]),
  );
  return {
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({
      id,
      content,
      special: true,
      normalized: false,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: ['a b', '▁ a', 'x y', 'a ba', 'ab a', 'ab ab', 'aba b', '▁ ▁', 'xy xy'],
    },
  };
}

describe('byte-level BPE', () => {
  const tokenizer = readFixture('bundled/tokenizer.json');
  const source = files(tokenizer, { config: readFixture('bundled/tokenizer_config.json') });
  const config = readFixture('bundled/config.json');

  it('is written with its rule, tokens, merges and special tokens', () => {
    const { map, notes, problems } = keys(source, config, 2048);
    expect(value(map, 'tokenizer.ggml.model')).toBe('gpt2');
    expect(value(map, 'tokenizer.ggml.pre')).toBe('smollm');
    expect((value(map, 'tokenizer.ggml.merges') as string[])[1]).toBe('Ġ t');
    expect((value(map, 'tokenizer.ggml.token_type') as number[]).slice(0, 5)).toEqual([3, 3, 3, 3, 1]);
    const ids = ['bos', 'eos', 'unknown', 'padding'].map((name) =>
      value(map, `tokenizer.ggml.${name}_token_id`),
    );
    expect(ids).toEqual([0, 1, 3, 2]);
    expect(value(map, 'tokenizer.ggml.add_bos_token')).toBe(true);
    expect(value(map, 'tokenizer.ggml.add_eos_token')).toBe(false);
    expect([...notes, ...problems]).toEqual([]);
  });

  it('comes back with the same ids and makes the same keys again', () => {
    const { map } = keys(source, config, 2048);
    const back = filesBack(map);
    const [ours, theirs] = [tokenizer, back.tokenizer].map((json) => createTokenizer({ tokenizer: json }));
    for (const text of TEXTS) expect([...theirs.encode(text)], text).toEqual([...ours.encode(text)]);
    expect(keys(back, config, 2048).map).toEqual(map);
  });

  it.each(PRE_TOKENIZERS)('finds the rule $name in what is made from it', (rule) => {
    const model = { ...(tokenizer.model as JsonObject), ignore_merges: rule.ignoreMerges === true };
    const json = { ...tokenizer, pre_tokenizer: preTokenizerJson(rule), model };
    const { map, notes } = keys(files(json, { config: source.config }), config, 2048);
    expect(value(map, 'tokenizer.ggml.pre')).toBe(rule.name);
    expect(notes).toEqual([]);
  });

  it('refuses a pre-tokenizer that llama.cpp does not have', () => {
    const pre_tokenizer = { type: 'Whitespace' };
    expect(keys(files({ ...tokenizer, pre_tokenizer }), config, 2048).problems.join()).toContain(
      'Whitespace',
    );
  });

  it('refuses too few embedding rows, duplicates and other kinds of model', () => {
    expect(keys(source, config, 2000).problems.join()).toContain('48 token ids');
    const added_tokens = [{ id: 2048, content: '!', special: false }];
    expect(keys(files({ ...tokenizer, added_tokens }), config, 2049).problems.join()).toContain(
      '"!" (4 and 2048)',
    );
    const model = { type: 'Unigram', vocab: [['a', 0]] };
    expect(keys(files({ ...tokenizer, model }), config, 2048).problems.join()).toContain('"Unigram"');
  });

  it('fills rows without a token, and tells what llama.cpp does not do', () => {
    const added_tokens = [{ id: 2048, content: '<|tool|>', special: false, rstrip: true }];
    const json = { ...tokenizer, added_tokens, normalizer: { type: 'NFC' } };
    const { map, notes } = keys(files(json, { config: source.config }), config, 2050);
    expect((value(map, 'tokenizer.ggml.tokens') as string[]).slice(2047)).toEqual([
      'ĠStado',
      '<|tool|>',
      '[PAD2049]',
    ]);
    expect((value(map, 'tokenizer.ggml.token_type') as number[]).slice(2047)).toEqual([1, 3, 5]);
    expect(notes.join('\n')).toMatch(/NFC[^]*spaces beside added tokens/);
  });

  it('names every token that ends a turn', () => {
    const generation = { eos_token_id: [1, 7, 8, 9] };
    const { map, notes } = keys(files(tokenizer, { config: source.config, generation }), {}, 2048);
    expect(value(map, 'tokenizer.ggml.eot_token_id')).toBe(7);
    expect(value(map, 'tokenizer.ggml.eom_token_id')).toBe(8);
    expect(notes.join()).toContain('will not stop at tokens "&"');
  });
});

describe('SentencePiece-style BPE', () => {
  const source = files(sentencePiece(), { config: { bos_token: '<s>', eos_token: { content: '</s>' } } });
  const size = 3 + 256 + 12;

  it('is written with scores in the order of its merges', () => {
    const { map, notes, problems } = keys(source, {}, size);
    const tokens = value(map, 'tokenizer.ggml.tokens') as string[];
    const scores = value(map, 'tokenizer.ggml.scores') as number[];
    const types = value(map, 'tokenizer.ggml.token_type') as number[];
    expect(['ab', '▁a', 'xy', 'aba', 'abab'].map((token) => scores[tokens.indexOf(token)])).toEqual([
      -0, -1, -2, -3, -5,
    ]);
    expect(types.slice(0, 4)).toEqual([2, 3, 3, 6]);
    expect(value(map, 'tokenizer.ggml.add_space_prefix')).toBe(true);
    expect(value(map, 'tokenizer.ggml.eos_token_id')).toBe(2);
    expect([...notes, ...problems]).toEqual([]);
  });

  it('comes back with the same ids and makes the same keys again', () => {
    const { map } = keys(source, {}, size);
    const back = filesBack(map);
    const [ours, theirs] = [source, back].map(({ tokenizer }) => createTokenizer({ tokenizer }));
    for (const text of [...TEXTS, 'ababab aba  ab', '  xyxy xy'])
      expect([...theirs.encode(text)], text).toEqual([...ours.encode(text)]);
    // A cut that was no merge ("a" + "ba": there is no "ba") is none on the way back either; ranks close up.
    const again = keys(back, {}, size).map;
    again.delete('tokenizer.ggml.scores');
    map.delete('tokenizer.ggml.scores');
    expect(again).toEqual(map);
  });

  it('is refused without all byte tokens, which llama.cpp needs', () => {
    const model = { ...(source.tokenizer.model as JsonObject), byte_fallback: false };
    expect(keys(files({ ...source.tokenizer, model }), {}, size).problems.join()).toContain('byte_fallback');
  });

  it('tells where spaces go other ways', () => {
    const pre_tokenizer = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' };
    const json = { ...source.tokenizer, normalizer: null, pre_tokenizer };
    expect(keys(files(json, { config: source.config }), {}, size).notes.join('\n')).toMatch(
      /at the start only[^]*never merges across spaces/,
    );
  });
});

describe('files of a tokenizer', () => {
  it('give chat templates, the loose file first', async () => {
    const config = {
      chat_template: [
        { name: 'default', template: 'A' },
        { name: 'tool_use', template: 'B' },
      ],
    };
    const read = await readTokenizerFiles(
      new Map([
        ['tokenizer.json', createTextSource('tokenizer.json', '{}')],
        ['tokenizer_config.json', createTextSource('tokenizer_config.json', JSON.stringify(config))],
        ['chat_template.jinja', createTextSource('chat_template.jinja', 'C')],
      ]),
    );
    expect([...read.templates]).toEqual([
      ['default', 'C'],
      ['tool_use', 'B'],
    ]);
  });

  it('are needed', async () => {
    await expect(readTokenizerFiles(new Map())).rejects.toThrow(UserError);
  });

  it('go into the file with templates and sampling, and come back', () => {
    const configJson = readFixture('bundled/config.json');
    const templates = new Map([
      ['default', 'A'],
      ['tool_use', 'B'],
    ]);
    const { metadata, problems } = ggufMetadata({
      config: parseModelConfig(configJson),
      configJson,
      tokenizer: files(readFixture('bundled/tokenizer.json'), {
        generation: readFixture('bundled/generation_config.json'),
        templates,
      }),
      name: 'bundled',
      fileType: 2,
      quantized: true,
    });
    expect(problems).toEqual([]);
    expect(metadata.get('general.sampling.temp')).toEqual({ type: 'f32', value: Math.fround(0.8) });
    expect(metadata.get('general.quantization_version')).toEqual({ type: 'u32', value: 2 });
    expect(filesBack(metadata).config.chat_template).toEqual([
      { name: 'default', template: 'A' },
      { name: 'tool_use', template: 'B' },
    ]);
  });
});

describe('tokenizer keys of other files', () => {
  const good = (): Map<string, GgufValue> => keys(files(sentencePiece()), {}, 271).map;

  it('that do not fit together are refused', () => {
    const map = good().set('tokenizer.ggml.scores', { type: 'array', items: 'f32', values: [1] });
    map.set('tokenizer.ggml.add_bos_token', { type: 'u32', value: 1 });
    expect(() => readGgufTokenizer(map, 'x.gguf')).toThrow(FormatError);
    expect(() => readGgufTokenizer(map, 'x.gguf')).toThrow(/271 scores[^]*add_bos_token/);
    expect(() =>
      readGgufTokenizer(new Map([['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }]]), 'x'),
    ).toThrow(FormatError);
  });

  it('of kinds that are not ours are told', () => {
    const map = good().set('tokenizer.ggml.model', { type: 'string', value: 'bert' });
    expect(readGgufTokenizer(map, 'x')).toMatchObject({ kind: 'unknown' });
    map.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
    map.set('tokenizer.ggml.pre', { type: 'string', value: 'viking' });
    expect(readGgufTokenizer(map, 'x')).toMatchObject({
      kind: 'unknown',
      reason: expect.stringContaining('viking') as string,
    });
  });

  it('may carry tokenizer.json whole', () => {
    const map = good().set('tokenizer.huggingface.json', { type: 'string', value: '{"version":"1.0"}' });
    expect(readGgufTokenizer(map, 'x')).toMatchObject({ kind: 'files', tokenizer: { version: '1.0' } });
    map.set('tokenizer.huggingface.json', { type: 'string', value: '{' });
    expect(() => readGgufTokenizer(map, 'x')).toThrow(FormatError);
  });
});
