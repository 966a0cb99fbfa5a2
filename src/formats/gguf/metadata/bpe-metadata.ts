import { isJsonObject } from '../../../io/json.js';
import type { JsonObject } from '../../../io/json.js';
import type { PartBuilder } from './metadata-part.js';
import { PRE_TOKENIZERS, findPreTokenizer, signature } from './pre-tokenizers.js';

/** Merges of tokenizer.json as pairs; both spellings, "a b" and ["a", "b"]. Entries of another shape are left out. */
export function readMerges(model: JsonObject): (readonly [string, string])[] {
  const merges: unknown[] = Array.isArray(model.merges) ? model.merges : [];
  return merges.flatMap((merge) => {
    const pair: unknown[] = typeof merge === 'string' ? splitOnce(merge) : Array.isArray(merge) ? merge : [];
    const [left, right] = pair;
    return typeof left === 'string' && typeof right === 'string' ? [[left, right] as const] : [];
  });
}

function splitOnce(merge: string): string[] {
  const at = merge.indexOf(' ');
  return at < 0 ? [] : [merge.slice(0, at), merge.slice(at + 1)];
}

/** Keys of a byte-level BPE: the name of its pre-tokenizer and its merges in rank order. */
export function addByteLevelBpe(part: PartBuilder, tokenizer: JsonObject, model: JsonObject): void {
  part.string('tokenizer.ggml.model', 'gpt2');
  addPreTokenizer(part, tokenizer, model);
  const merges = readMerges(model);
  // A space inside an element would end it: llama.cpp splits each merge at its first space.
  part.strings(
    'tokenizer.ggml.merges',
    merges.map((pair) => pair.map((side) => side.replaceAll(' ', 'Ġ')).join(' ')),
  );
  noteNormalizer(part, tokenizer.normalizer);
}

function addPreTokenizer(part: PartBuilder, tokenizer: JsonObject, model: JsonObject): void {
  const steps = signature(withoutPrefixSpace(part, tokenizer.pre_tokenizer));
  const ignoreMerges = model.ignore_merges === true;
  const match = findPreTokenizer(steps, ignoreMerges);
  if (match === undefined) {
    part.problems.push(
      `GGUF: llama.cpp has no rule for the pre-tokenizer of this tokenizer.json (${steps.join(' → ') || 'none'}); ` +
        `rules known here: ${PRE_TOKENIZERS.map(({ name }) => name).join(', ')}`,
    );
    return;
  }
  part.string('tokenizer.ggml.pre', match.found.name);
  if (!match.exact)
    part.notes.push(
      ignoreMerges
        ? `GGUF: this tokenizer takes words that are tokens without merges; llama.cpp's rule "${match.found.name}" merges`
        : `GGUF: llama.cpp's rule "${match.found.name}" takes words that are tokens without merges; this tokenizer merges`,
    );
}

/** llama.cpp puts no space before the text of a byte-level BPE. */
function withoutPrefixSpace(part: PartBuilder, preTokenizer: unknown): unknown {
  const text = JSON.stringify(preTokenizer ?? null);
  if (!text.includes('"add_prefix_space":true')) return preTokenizer;
  part.notes.push(
    'GGUF: this tokenizer puts a space before a text, llama.cpp does not: the first word gets other ids',
  );
  return JSON.parse(text.replaceAll('"add_prefix_space":true', '"add_prefix_space":false'));
}

function noteNormalizer(part: PartBuilder, normalizer: unknown): void {
  if (!isJsonObject(normalizer)) return;
  const name = String(normalizer.type);
  part.notes.push(
    name === 'NFC'
      ? 'GGUF: llama.cpp does not compose Unicode (NFC) before tokenizing; text that is not composed gets other ids'
      : `GGUF: llama.cpp does not run the normalizer "${name}" of this tokenizer; text that it changes gets other ids`,
  );
}
