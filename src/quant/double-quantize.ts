import { DYNAMIC_MAP } from '../core/dynamic-map.js';
import { torchMean } from './torch-mean.js';

/** Numbers per block of double quantization. */
export const NESTED_BLOCK = 256;

/** 8-bit codes of the numbers that blocks are scaled by, less their mean. */
export interface NestedAbsmax {
  readonly blockSize: 256;
  /** [n], into DYNAMIC_MAP. */
  readonly codes: Uint8Array;
  /** [⌈n/256⌉]. */
  readonly absmax: Float32Array;
  readonly offset: number;
}

/** bitsandbytes looks codes up by the place of a number among this many between −1 and 1. */
const PLACES = 65536;

/** Double quantization of absmax (QLoRA, section 3), bit for bit that of bitsandbytes (quantize_4bit, cpu_ops.cpp). */
export function doubleQuantize(absmax: Float32Array): NestedAbsmax {
  const offset = torchMean(absmax);
  const rest = absmax.map((value) => value - offset);
  const codes = new Uint8Array(rest.length);
  const nested = new Float32Array(Math.ceil(rest.length / NESTED_BLOCK));
  const codeAt = codesByPlace();
  for (let block = 0; block < nested.length; block++) {
    const start = block * NESTED_BLOCK;
    const end = Math.min(start + NESTED_BLOCK, rest.length);
    let largest = 0;
    for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(rest[i]));
    nested[block] = largest;
    // All equal to the mean: any code would do, bitsandbytes stores 0.
    if (largest === 0) continue;
    const inverse = Math.fround(1 / largest);
    for (let i = start; i < end; i++) codes[i] = codeAt[placeOf(Math.fround(rest[i] * inverse))];
  }
  return { blockSize: NESTED_BLOCK, codes, absmax: nested, offset };
}

/** absmax as every reader gets it: f32(f32(map[code]·absmax) + offset). */
export function restoreAbsmax({ codes, absmax, offset }: NestedAbsmax, map = DYNAMIC_MAP): Float32Array {
  return Float32Array.from(
    codes,
    (code, i) => Math.fround(map[code] * absmax[Math.floor(i / NESTED_BLOCK)]) + offset,
  );
}

/** Place of a number among PLACES from −1 to 1. Infinite reciprocals of denormals make NaN of 0, which lands at 0. */
function placeOf(value: number): number {
  if (Number.isNaN(value)) return 0;
  const half = Math.fround(Math.max(-1, Math.min(1, value)) + 1) * 0.5;
  return Math.trunc(Math.fround(half * (PLACES - 1) + 0.5));
}

/** Nearest code of DYNAMIC_MAP at each place. */
function codesByPlace(): Uint8Array {
  const table = new Uint8Array(PLACES);
  const middle = (code: number): number =>
    Math.fround(0.5 * Math.fround(DYNAMIC_MAP[code] + DYNAMIC_MAP[code + 1]));
  let code = 0;
  for (let i = 0; i < PLACES; i++) {
    const value = Math.fround(-1 + Math.fround((2 * i) / (PLACES - 1)));
    while (code < 255 && middle(code) < value) code++;
    table[i] = code;
  }
  return table;
}
