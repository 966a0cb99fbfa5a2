import { assert } from '../core/errors.js';

/** Tokens of a micro-batch unless told otherwise: enough rows for full-speed matrix products, small activations. */
export const DEFAULT_BATCH_TOKENS = 2048;

/** Whole windows that go through a layer together. */
export interface MicroBatch {
  /** Index of its first window among all. */
  readonly firstWindow: number;
  readonly windows: number;
  readonly seqLen: number;
  /** [windows·seqLen], window after window. */
  readonly tokens: Uint32Array;
}

/** Packs equally long windows, in order, into micro-batches of at most `maxTokens` tokens (at least one window each). */
export function planMicroBatches(
  windows: readonly Uint32Array[],
  maxTokens = DEFAULT_BATCH_TOKENS,
): MicroBatch[] {
  if (windows.length === 0) return [];
  const seqLen = windows[0].length;
  assert(
    seqLen > 0 && windows.every((window) => window.length === seqLen),
    'windows of a run have one length, at least 1',
  );
  const perBatch = Math.max(1, Math.floor(maxTokens / seqLen));
  const batches: MicroBatch[] = [];
  for (let firstWindow = 0; firstWindow < windows.length; firstWindow += perBatch) {
    const members = windows.slice(firstWindow, firstWindow + perBatch);
    const tokens = new Uint32Array(members.length * seqLen);
    members.forEach((member, i) => {
      tokens.set(member, i * seqLen);
    });
    batches.push({ firstWindow, windows: members.length, seqLen, tokens });
  }
  return batches;
}
