/**
 * Lanes: four codes as the four bytes of a word, the form in which bit fields of blocks are cut and joined four codes at
 * a time. Records keep a row's codes as a dense bit stream (core/code-stream.ts); these loops convert a row of it.
 * Rows are whole 32-code runs, so a row of b-bit codes is K·b/32 whole words and K/4 lanes.
 */
import type { Bits } from '../../../core/quantized-linear.js';

/** A run of words in a bigger array. */
export interface WordsAt {
  readonly words: Uint32Array;
  readonly start: number;
}

/** Bit stream → lanes; fills `lanes`. */
export function streamToLanes({ words, start }: WordsAt, bits: Bits, lanes: Uint32Array): void {
  switch (bits) {
    case 4:
      for (let i = 0, w = start; i < lanes.length; i += 2, w++) {
        const word = words[w];
        lanes[i] = spread4(word & 0xffff);
        lanes[i + 1] = spread4(word >>> 16);
      }
      return;
    case 5:
      spreadFives(words, start, lanes);
      return;
    case 6:
      for (let i = 0, w = start; i < lanes.length; i += 4, w += 3) {
        const a = words[w];
        const b = words[w + 1];
        const c = words[w + 2];
        lanes[i] = spread6(a & 0xffffff);
        lanes[i + 1] = spread6((a >>> 24) | ((b & 0xffff) << 8));
        lanes[i + 2] = spread6((b >>> 16) | ((c & 0xff) << 16));
        lanes[i + 3] = spread6(c >>> 8);
      }
      return;
    case 8:
      lanes.set(words.subarray(start, start + lanes.length));
      return;
    case 2:
    case 3:
      throw new RangeError(`no block type has ${bits} bits`);
    default:
      bits satisfies never;
  }
}

/** Lanes → bit stream. */
export function lanesToStream(lanes: Uint32Array, bits: Bits, { words, start }: WordsAt): void {
  switch (bits) {
    case 4:
      for (let i = 0, w = start; i < lanes.length; i += 2, w++)
        words[w] = gather4(lanes[i]) | (gather4(lanes[i + 1]) << 16);
      return;
    case 5:
      gatherFives(lanes, words, start);
      return;
    case 6:
      for (let i = 0, w = start; i < lanes.length; i += 4, w += 3) {
        const b = gather6(lanes[i + 1]);
        const c = gather6(lanes[i + 2]);
        words[w] = gather6(lanes[i]) | (b << 24);
        words[w + 1] = (b >>> 8) | (c << 16);
        words[w + 2] = (c >>> 16) | (gather6(lanes[i + 3]) << 8);
      }
      return;
    case 8:
      words.set(lanes, start);
      return;
    case 2:
    case 3:
      throw new RangeError(`no block type has ${bits} bits`);
    default:
      bits satisfies never;
  }
}

/** 16 bits of four nibbles → a lane. */
function spread4(packed: number): number {
  const pairs = (packed | (packed << 8)) & 0x00ff00ff;
  return (pairs | (pairs << 4)) & 0x0f0f0f0f;
}

function gather4(lane: number): number {
  const pairs = (lane | (lane >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
}

function spread5(packed: number): number {
  return (
    (packed & 0x1f) | ((packed << 3) & 0x1f00) | ((packed << 6) & 0x1f0000) | ((packed << 9) & 0x1f000000)
  );
}

function gather5(lane: number): number {
  return (lane & 0x1f) | ((lane >>> 3) & 0x3e0) | ((lane >>> 6) & 0x7c00) | ((lane >>> 9) & 0xf8000);
}

function spread6(packed: number): number {
  return (
    (packed & 0x3f) | ((packed << 2) & 0x3f00) | ((packed << 4) & 0x3f0000) | ((packed << 6) & 0x3f000000)
  );
}

function gather6(lane: number): number {
  return (lane & 0x3f) | ((lane >>> 2) & 0xfc0) | ((lane >>> 4) & 0x3f000) | ((lane >>> 6) & 0xfc0000);
}

/** Eight lanes are 160 bits: five words. */
function spreadFives(words: Uint32Array, start: number, lanes: Uint32Array): void {
  for (let i = 0, w = start; i < lanes.length; i += 8, w += 5) {
    const a = words[w];
    const b = words[w + 1];
    const c = words[w + 2];
    const d = words[w + 3];
    const e = words[w + 4];
    lanes[i] = spread5(a);
    lanes[i + 1] = spread5((a >>> 20) | (b << 12));
    lanes[i + 2] = spread5(b >>> 8);
    lanes[i + 3] = spread5((b >>> 28) | (c << 4));
    lanes[i + 4] = spread5((c >>> 16) | (d << 16));
    lanes[i + 5] = spread5(d >>> 4);
    lanes[i + 6] = spread5((d >>> 24) | (e << 8));
    lanes[i + 7] = spread5(e >>> 12);
  }
}

function gatherFives(lanes: Uint32Array, words: Uint32Array, start: number): void {
  for (let i = 0, w = start; i < lanes.length; i += 8, w += 5) {
    const q1 = gather5(lanes[i + 1]);
    const q3 = gather5(lanes[i + 3]);
    const q4 = gather5(lanes[i + 4]);
    const q6 = gather5(lanes[i + 6]);
    words[w] = gather5(lanes[i]) | (q1 << 20);
    words[w + 1] = (q1 >>> 12) | (gather5(lanes[i + 2]) << 8) | (q3 << 28);
    words[w + 2] = (q3 >>> 4) | (q4 << 16);
    words[w + 3] = (q4 >>> 16) | (gather5(lanes[i + 5]) << 4) | (q6 << 24);
    words[w + 4] = (q6 >>> 8) | (gather5(lanes[i + 7]) << 12);
  }
}
