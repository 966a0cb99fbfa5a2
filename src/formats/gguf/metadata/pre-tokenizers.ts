import { isJsonObject } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';

/**
 * llama.cpp knows no regular expressions of a file, only names of those built into it (`tokenizer.ggml.pre`). A name is
 * found by the steps of tokenizer.json's pre-tokenizer.
 */
export interface PreTokenizer {
  readonly name: string;
  /** Steps as signature() writes them; the first is the one made on the way back. */
  readonly steps: readonly (readonly string[])[];
  /** llama.cpp takes words that are tokens whole, without merges. */
  readonly ignoreMerges?: true;
  /** Other names for the same rule, for reading. */
  readonly aliases?: readonly string[];
}

const CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d";
const SPACES = String.raw`\s+(?!\S)|\s+`;
const GPT2 = String.raw`${CONTRACTIONS}| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|${SPACES}`;
/** The pattern of OpenAI's cl100k with digits in threes, and with single digits. */
const LLAMA3 = String.raw`(?i:${CONTRACTIONS})|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|${SPACES}`;
const QWEN2 = LLAMA3.replace('{1,3}', '');
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const TEKKEN = String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|${SPACES}`;
const GPT4O = String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+(?i:${CONTRACTIONS})?|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*(?i:${CONTRACTIONS})?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|${SPACES}`;
const HAN = '[一-龥ࠀ-一가-퟿]+';
const DEEPSEEK_V3 = String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|${SPACES}`;

const split = (pattern: string): string => `split ${pattern}`;
/** Numeric characters one by one. "Digits" means the same, but not to every library: some take 0 to 9 only. */
const NUMBERS = split(String.raw`\p{N}`);
const DIGITS = 'digits';
const BYTES = 'bytes';
const BYTES_GPT2 = 'bytes with gpt-2';

export const PRE_TOKENIZERS: readonly PreTokenizer[] = [
  {
    name: 'gpt-2',
    steps: [[BYTES_GPT2], [split(GPT2), BYTES]],
    aliases: ['phi-2', 'olmo', 'mpt', 'jais', 'trillion', 'exaone4', 'mellum', 'a.x-4.0', 'granite-docling'],
  },
  {
    name: 'smollm',
    steps: [
      [NUMBERS, BYTES_GPT2],
      [DIGITS, BYTES_GPT2],
    ],
    aliases: ['starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b'],
  },
  {
    name: 'llama-bpe',
    steps: [[split(LLAMA3), BYTES]],
    ignoreMerges: true,
    aliases: ['llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2'],
  },
  // The same pattern with merges only.
  { name: 'smaug-bpe', steps: [[split(LLAMA3), BYTES]], aliases: ['dbrx'] },
  {
    name: 'qwen2',
    steps: [[split(QWEN2), BYTES]],
    aliases: ['stablelm2', 'deepseek-r1-qwen', 'kormo', 'megrez', 'hunyuan', 'solar-open', 'grok-2'],
  },
  { name: 'tekken', steps: [[split(TEKKEN), BYTES]], ignoreMerges: true },
  { name: 'gpt-4o', steps: [[split(GPT4O), BYTES]], aliases: ['llama4', 'minimax-m2'] },
  {
    name: 'deepseek-coder',
    steps: [NUMBERS, DIGITS].map((digits) => [
      split(String.raw`[\r\n]`),
      split(String.raw`\s?\p{L}+`),
      split(String.raw`\s?\p{P}+`),
      split(HAN),
      digits,
      BYTES,
    ]),
  },
  {
    name: 'deepseek-v3',
    steps: [[split(String.raw`\p{N}{1,3}`), split('[一-龥぀-ゟ゠-ヿ]+'), split(DEEPSEEK_V3), BYTES]],
    aliases: ['hunyuan-dense'],
  },
  {
    name: 'default',
    steps: [
      [
        split(String.raw`[\p{P}\$\+<=>\^~\|]+`),
        split(GPT2),
        split(String.raw`\p{N}+`),
        split('[0-9][0-9][0-9]'),
        BYTES,
      ],
    ],
  },
];

/** The rule for these steps; where two differ in ignoring merges only, the one that does as the tokenizer. */
export function findPreTokenizer(
  steps: readonly string[],
  ignoreMerges: boolean,
): { readonly found: PreTokenizer; readonly exact: boolean } | undefined {
  const same = PRE_TOKENIZERS.filter((rule) =>
    rule.steps.some((known) => known.length === steps.length && known.every((step, i) => step === steps[i])),
  );
  if (same.length === 0) return undefined;
  const exact = same.find((rule) => (rule.ignoreMerges === true) === ignoreMerges);
  return { found: exact ?? same[0], exact: exact !== undefined };
}

export function preTokenizerByName(name: string): PreTokenizer | undefined {
  return PRE_TOKENIZERS.find((rule) => rule.name === name || rule.aliases?.includes(name));
}

/**
 * A pre-tokenizer of tokenizer.json as steps in words that the table above can be compared with; a step that no rule has
 * is written as its JSON.
 */
export function signature(preTokenizer: unknown): string[] {
  if (!isJsonObject(preTokenizer)) return [];
  if (preTokenizer.type !== 'Sequence') return [describeStep(preTokenizer)];
  const steps: unknown[] = Array.isArray(preTokenizer.pretokenizers) ? preTokenizer.pretokenizers : [];
  return steps.flatMap(signature);
}

function describeStep(step: JsonObject): string {
  if (step.type === 'ByteLevel' && step.add_prefix_space !== true)
    return step.use_regex === false ? BYTES : BYTES_GPT2;
  if (step.type === 'Digits' && step.individual_digits === true) return DIGITS;
  if (step.type === 'Split' && isJsonObject(step.pattern) && typeof step.pattern.Regex === 'string') {
    const isolated = step.behavior === 'Isolated' && step.invert !== true;
    // Patterns that match everything: taking the matches out of nothing is the same.
    const inverted = step.behavior === 'Removed' && step.invert === true;
    if (isolated || inverted) return split(step.pattern.Regex);
  }
  return JSON.stringify(step);
}

/** The way back: tokenizer.json's pre-tokenizer of a rule. */
export function preTokenizerJson(rule: PreTokenizer): JsonObject {
  const steps = rule.steps[0].map(stepJson);
  return steps.length === 1 ? steps[0] : { type: 'Sequence', pretokenizers: steps };
}

function stepJson(step: string): JsonObject {
  if (step === DIGITS) return { type: 'Digits', individual_digits: true };
  if (step === BYTES || step === BYTES_GPT2)
    return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: step === BYTES_GPT2 };
  return {
    type: 'Split',
    pattern: { Regex: step.slice('split '.length) },
    behavior: 'Isolated',
    invert: false,
  };
}
