import { UserError } from '../core/errors.js';
import { shuffledIndices } from '../core/rng.js';
import { joinIds } from './tokenizer.js';

/** Equally long, consecutive, non-overlapping windows of a text's tokens. */
export interface TokenWindows {
  readonly seqLen: number;
  /** Each [seqLen]. */
  readonly windows: readonly Uint32Array[];
  /** Windows asked for; fewer are there when the text is shorter. */
  readonly requested: number | undefined;
}

export interface WindowOptions {
  /** Token ids of the text in order, as encodeStream gives them. */
  readonly ids: AsyncIterable<Uint32Array> | Iterable<Uint32Array>;
  /** Tokens per window. */
  readonly seqLen: number;
  /** At most this many windows; all when undefined. */
  readonly count?: number | undefined;
  /** Takes `count` windows at random, from this seed, instead of the first ones; reads the whole text. */
  readonly shuffleSeed?: number | undefined;
  /** What the text is and where to change it, for messages: such as "calibration text notes.txt". */
  readonly name: string;
}

/**
 * Cuts a text's tokens into windows; tokens after the last full window are left out. Without shuffling it stops reading
 * once it has enough. Memory: the tokens read, 4 bytes each. UserError when they do not fill one window.
 */
export async function collectWindows(options: WindowOptions): Promise<TokenWindows> {
  const { seqLen, count, shuffleSeed } = options;
  const wanted = count === undefined || shuffleSeed !== undefined ? Infinity : count * seqLen;
  const parts: Uint32Array[] = [];
  let total = 0;
  for await (const part of options.ids) {
    parts.push(part);
    total += part.length;
    if (total >= wanted) break;
  }
  const ids = joinIds(parts);
  const available = Math.floor(ids.length / seqLen);
  if (available === 0)
    throw new UserError(`${options.name} has ${ids.length} tokens, one window needs ${seqLen}`, {
      advice: `give a longer text, or a smaller --seq-len (at most ${Math.max(ids.length, 1)} here)`,
    });
  const order = shuffleSeed === undefined ? undefined : shuffledIndices(available, shuffleSeed);
  const windows = Array.from({ length: Math.min(available, count ?? available) }, (_, i) => {
    const start = (order?.[i] ?? i) * seqLen;
    return ids.slice(start, start + seqLen);
  });
  return { seqLen, windows, requested: count };
}
