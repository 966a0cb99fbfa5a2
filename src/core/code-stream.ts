/**
 * The dense bit stream shared by GPTQ, compressed-tensors and MLX: code i occupies bits i·b … i·b+b−1, least significant
 * first; bit t lies in word ⌊t/32⌋ at position t mod 32. Codes of 3, 5 and 6 bits straddle words; 2, 4 and 8 bits never do.
 */
import type { Bits } from './quantized-linear.js';

/** Packs `codes` (each below 2^bits) into ⌈count·bits/32⌉ words. Counts stay below 2²⁸, so bit positions are exact. */
export function packCodes(codes: ArrayLike<number>, bits: Bits): Uint32Array {
  const words = new Uint32Array(Math.ceil((codes.length * bits) / 32));
  for (let i = 0; i < codes.length; i++) {
    const bit = i * bits;
    const word = Math.floor(bit / 32);
    const shift = bit % 32;
    words[word] |= codes[i] << shift;
    if (shift + bits > 32) words[word + 1] |= codes[i] >>> (32 - shift);
  }
  return words;
}

/** The first `count` codes of `words`, starting at word `start`. */
export function unpackCodes(words: Uint32Array, bits: Bits, count: number, start = 0): Uint8Array {
  const codes = new Uint8Array(count);
  if (32 % bits === 0) unpackAligned(words, bits, codes, start);
  else unpackStraddling(words, bits, codes, start);
  return codes;
}

/** 2, 4 and 8 bits: one read per word. */
function unpackAligned(words: Uint32Array, bits: Bits, codes: Uint8Array, start: number): void {
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  const whole = codes.length - (codes.length % perWord);
  let word = start;
  for (let i = 0; i < whole; i += perWord) {
    let rest = words[word++];
    for (let j = 0; j < perWord; j++) {
      codes[i + j] = rest & mask;
      rest >>>= bits;
    }
  }
  for (let i = whole; i < codes.length; i++) codes[i] = (words[word] >>> ((i - whole) * bits)) & mask;
}

function unpackStraddling(words: Uint32Array, bits: Bits, codes: Uint8Array, start: number): void {
  const mask = 2 ** bits - 1;
  let word = start;
  let shift = 0;
  for (let i = 0; i < codes.length; i++) {
    let value = words[word] >>> shift;
    if (shift + bits > 32) value |= words[word + 1] << (32 - shift);
    codes[i] = value & mask;
    shift += bits;
    if (shift >= 32) {
      shift -= 32;
      word++;
    }
  }
}
