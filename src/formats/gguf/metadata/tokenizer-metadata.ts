import { isJsonObject } from '../../../io/json.js';
import { addByteLevelBpe } from './bpe-metadata.js';
import type { MetadataPart } from './metadata-part.js';
import { PartBuilder } from './metadata-part.js';
import type { TokenIdConfig } from './special-tokens.js';
import { addSpecialTokens } from './special-tokens.js';
import { addSentencePiece, findSpaceMarking } from './spm-metadata.js';
import type { AddedToken } from './token-list.js';
import { buildTokenList, readAddedTokens, readVocabulary } from './token-list.js';
import type { TokenizerFiles } from './tokenizer-files.js';

/**
 * tokenizer.json and its companions → `tokenizer.*` keys. Two kinds exist here: byte-level BPE ("gpt2") and
 * SentencePiece-style BPE with byte fallback ("llama"). `vocabSize` is the number of embedding rows.
 */
export function tokenizerMetadata(
  files: TokenizerFiles,
  modelConfig: TokenIdConfig,
  vocabSize: number,
): MetadataPart {
  const part = new PartBuilder();
  const { tokenizer } = files;
  const { model } = tokenizer;
  if (!isJsonObject(model) || model.type !== 'BPE' || readVocabulary(tokenizer).size === 0) {
    const type = isJsonObject(model) ? String(model.type) : 'none';
    part.problems.push(
      `GGUF: tokenizers of type BPE can be written for these architectures; tokenizer.json has "${type}"`,
    );
    return part;
  }
  const marking = findSpaceMarking(tokenizer);
  const unknown = typeof model.unk_token === 'string' ? model.unk_token : undefined;
  const added = readAddedTokens(tokenizer);
  const list = buildTokenList(readVocabulary(tokenizer), added, {
    vocabSize,
    sentencePiece: marking !== undefined,
    unknown,
  });
  part.problems.push(...list.problems);
  if (marking === undefined) addByteLevelBpe(part, tokenizer, model);
  else addSentencePiece(part, model, list, marking);
  part.strings('tokenizer.ggml.tokens', list.tokens);
  part.add('tokenizer.ggml.token_type', { type: 'array', items: 'i32', values: list.types });
  addSpecialTokens(part, files, modelConfig, list.tokens);
  noteModel(part, model, added);
  addTemplates(part, files.templates);
  return part;
}

function noteModel(
  part: PartBuilder,
  model: Readonly<Record<string, unknown>>,
  added: readonly AddedToken[],
): void {
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix'])
    if (typeof model[key] === 'string' && model[key] !== '')
      part.problems.push(
        `GGUF: llama.cpp has no ${key} in its BPE; tokenizer.json has ${JSON.stringify(model[key])}`,
      );
  const stripping = added.filter((token) => token.lstrip || token.rstrip || token.singleWord);
  if (stripping.length === 0) return;
  const names = stripping.slice(0, 5).map((token) => JSON.stringify(token.content));
  part.notes.push(
    `GGUF: llama.cpp does not swallow spaces beside added tokens nor keep them to whole words; ${stripping.length} tokens ask for it (${names.join(', ')}${stripping.length > 5 ? ' …' : ''})`,
  );
}

function addTemplates(part: PartBuilder, templates: ReadonlyMap<string, string>): void {
  const named = [...templates.keys()].filter((name) => name !== 'default').sort();
  const standard = templates.get('default');
  if (standard !== undefined) part.string('tokenizer.chat_template', standard);
  if (named.length > 0) part.strings('tokenizer.chat_templates', named);
  for (const name of named) part.string(`tokenizer.chat_template.${name}`, templates.get(name) ?? '');
}
