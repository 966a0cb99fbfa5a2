import { isJsonObject } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';
import type { PartBuilder } from './metadata-part.js';
import type { TokenizerFiles } from './tokenizer-files.js';

/** What of config.json names special tokens. */
export interface TokenIdConfig {
  readonly bos_token_id?: unknown;
  readonly eos_token_id?: unknown;
  readonly pad_token_id?: unknown;
  readonly unk_token_id?: unknown;
}

/** Texts by which llama.cpp itself knows tokens that end a turn, whatever the keys say (src/llama-vocab.cpp). */
const ENDS_BY_TEXT: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '<|eom_id|>',
  '<EOT>',
  '<|end_of_text|>',
  '<end_of_utterance>',
]);

const KEYS = {
  bos: 'tokenizer.ggml.bos_token_id',
  eos: 'tokenizer.ggml.eos_token_id',
  unk: 'tokenizer.ggml.unknown_token_id',
  pad: 'tokenizer.ggml.padding_token_id',
} as const;

/** Ids of special tokens, and which of them the tokenizer puts around a text. `tokens` is the table in id order. */
export function addSpecialTokens(
  part: PartBuilder,
  files: TokenizerFiles,
  modelConfig: TokenIdConfig,
  tokens: readonly string[],
): void {
  const idOf = (text: string | undefined): number | undefined => {
    const id = text === undefined ? -1 : tokens.indexOf(text);
    return id < 0 ? undefined : id;
  };
  const ids = new Map<keyof typeof KEYS, number>();
  for (const kind of ['bos', 'eos', 'unk', 'pad'] as const) {
    const listed = [files.generation, modelConfig].flatMap((from) => idList(from[`${kind}_token_id`]));
    const id = [idOf(tokenText(files.config[`${kind}_token`])), ...listed].find(
      (candidate) => candidate !== undefined && candidate < tokens.length,
    );
    if (id !== undefined) ids.set(kind, id);
  }
  const around = findAround(files, idOf, ids);
  if (around.bos !== undefined) ids.set('bos', around.bos);
  for (const [kind, id] of ids) part.u32(KEYS[kind], id);
  part.bool('tokenizer.ggml.add_bos_token', around.addBos);
  part.bool('tokenizer.ggml.add_eos_token', around.addEos);
  part.notes.push(...around.notes);
  addTurnEnds(
    part,
    [files.generation, modelConfig].flatMap((from) => idList(from.eos_token_id)),
    ids,
    tokens,
  );
}

/** Generation stops at every id of generation_config.json's eos_token_id; llama.cpp has keys for three. */
function addTurnEnds(
  part: PartBuilder,
  ends: readonly number[],
  ids: ReadonlyMap<string, number>,
  tokens: readonly string[],
): void {
  const eos = ids.get('eos');
  if (eos === undefined)
    part.notes.push('GGUF: no end-of-text token is named by the checkpoint; llama.cpp takes its own default');
  const more = [...new Set(ends)].filter(
    (id) => id !== eos && id < tokens.length && !ENDS_BY_TEXT.has(tokens[id]),
  );
  if (more.length > 0) part.u32('tokenizer.ggml.eot_token_id', more[0]);
  if (more.length > 1) part.u32('tokenizer.ggml.eom_token_id', more[1]);
  if (more.length > 2)
    part.notes.push(
      `GGUF: llama.cpp will not stop at tokens ${more
        .slice(2)
        .map((id) => JSON.stringify(tokens[id]))
        .join(', ')}`,
    );
}

interface Around {
  readonly addBos: boolean;
  readonly addEos: boolean;
  /** The token that the template puts first, where it does. */
  readonly bos?: number;
  readonly notes: readonly string[];
}

/** From the post-processor's template; without one, tokenizer_config.json's add_bos_token and add_eos_token. */
function findAround(
  files: TokenizerFiles,
  idOf: (text: string | undefined) => number | undefined,
  ids: ReadonlyMap<string, number>,
): Around {
  const template = findTemplate(files.tokenizer.post_processor);
  if (template === undefined)
    return {
      addBos: files.config.add_bos_token === true,
      addEos: files.config.add_eos_token === true,
      notes: [],
    };
  const at = template.findIndex((item) => item === undefined);
  const before = template.slice(0, at);
  const after = template.slice(at + 1);
  const [first] = before;
  const bos = idOf(first);
  const notes: string[] = [];
  if (before.length > 1 || (first !== undefined && bos === undefined))
    notes.push(`GGUF: llama.cpp puts at most one token before a text, this tokenizer ${before.join(' ')}`);
  const eos = ids.get('eos');
  const addEos = after.length === 1 && idOf(after[0]) === eos && eos !== undefined;
  if (after.length > 0 && !addEos)
    notes.push(`GGUF: llama.cpp will not put ${after.join(' ')} behind a text as this tokenizer does`);
  return { addBos: bos !== undefined, addEos, notes, ...(bos === undefined ? {} : { bos }) };
}

/** TemplateProcessing's "single": texts of special tokens, undefined where the text goes. */
function findTemplate(processor: unknown): (string | undefined)[] | undefined {
  if (!isJsonObject(processor)) return undefined;
  if (processor.type === 'Sequence' && Array.isArray(processor.processors))
    return (processor.processors as unknown[]).map(findTemplate).find((found) => found !== undefined);
  if (processor.type !== 'TemplateProcessing' || !Array.isArray(processor.single)) return undefined;
  const items = (processor.single as unknown[]).filter(isJsonObject);
  const single = items.map((item) =>
    isJsonObject(item.SpecialToken) ? String(item.SpecialToken.id) : undefined,
  );
  return single.includes(undefined) ? single : undefined;
}

/** A token in tokenizer_config.json: its text, or an object that holds it. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isJsonObject(value) && typeof value.content === 'string' ? value.content : undefined;
}

function idList(value: unknown): number[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((id): id is number => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0);
}

/** Sampling that generation_config.json asks for, as newer llama.cpp reads it from the model file. */
export function addSampling(part: PartBuilder, generation: JsonObject): void {
  if (generation.do_sample !== true) return;
  const number = (key: string): number | undefined => {
    const value = generation[key];
    return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  };
  const topK = number('top_k');
  if (topK !== undefined) part.add('general.sampling.top_k', { type: 'i32', value: Math.trunc(topK) });
  for (const [key, from] of [
    ['top_p', 'top_p'],
    ['min_p', 'min_p'],
    ['temp', 'temperature'],
    ['penalty_repeat', 'repetition_penalty'],
  ] as const) {
    const value = number(from);
    if (value !== undefined) part.f32(`general.sampling.${key}`, value);
  }
}
