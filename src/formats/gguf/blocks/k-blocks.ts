/**
 * Super-blocks of 256 (ggml/src/ggml-common.h, ggml-quants.c). Q4_K and Q5_K: float16 d and dmin, 12 bytes of eight 6-bit
 * scales and minima, in Q5_K 32 bytes of high bits, 128 bytes of nibbles. Q6_K: 128 bytes of low nibbles, 64 of high
 * pairs, 16 int8 scales, float16 d. As in simple-blocks.ts codes travel as lanes and bytes as 16-bit units.
 */

export type KType = 'Q4_K' | 'Q5_K' | 'Q6_K';

/** One row in parts: lanes [K/4]; float16 bits d, dmin [K/256]; scales, mins [K/32], for Q6_K scales [K/16]. */
export interface KRow {
  readonly lanes: Uint32Array;
  readonly d: Uint16Array;
  readonly dmin: Uint16Array;
  readonly scales: Int8Array;
  readonly mins: Uint8Array;
}

const LANES = 64;
const UNITS = { Q4_K: 72, Q5_K: 88, Q6_K: 105 } as const;
const LOW = 0x0f0f0f0f;
const PAIRS = 0x03030303;

export function joinQ4KRow(row: KRow, out: Uint16Array, at: number): void {
  const packed = new Uint8Array(12);
  for (let block = 0; block < row.d.length; block++) {
    const unit = at + block * UNITS.Q4_K;
    out[unit] = row.d[block];
    out[unit + 1] = row.dmin[block];
    packSixBits(row.scales, row.mins, block * 8, packed);
    for (let i = 0; i < 6; i++) out[unit + 2 + i] = packed[2 * i] | (packed[2 * i + 1] << 8);
    joinNibbles(row.lanes, block * LANES, out, unit + 8);
  }
}

/** Q4_K and Q5_K. */
export function splitQ45KRow(type: 'Q4_K' | 'Q5_K', input: Uint16Array, at: number, row: KRow): void {
  const packed = new Uint8Array(12);
  for (let block = 0; block < row.d.length; block++) {
    const unit = at + block * UNITS[type];
    row.d[block] = input[unit];
    row.dmin[block] = input[unit + 1];
    for (let i = 0; i < 6; i++) {
      packed[2 * i] = input[unit + 2 + i];
      packed[2 * i + 1] = input[unit + 2 + i] >>> 8;
    }
    unpackSixBits(packed, row.scales, row.mins, block * 8);
    const lane = block * LANES;
    splitNibbles(input, unit + (type === 'Q5_K' ? 24 : 8), row.lanes, lane);
    if (type === 'Q5_K') addHighBits(input, unit + 8, row.lanes, lane);
  }
}

export function joinQ6KRow(row: KRow, out: Uint16Array, at: number): void {
  const { lanes, scales } = row;
  for (let block = 0; block < row.d.length; block++) {
    const unit = at + block * UNITS.Q6_K;
    for (let half = 0; half < 2; half++)
      for (let i = 0; i < 8; i++) {
        const lane = block * LANES + half * 32 + i;
        const a = lanes[lane];
        const b = lanes[lane + 8];
        const c = lanes[lane + 16];
        const d = lanes[lane + 24];
        putWord(out, unit + half * 32 + 2 * i, (a & LOW) | ((c & LOW) << 4));
        putWord(out, unit + half * 32 + 16 + 2 * i, (b & LOW) | ((d & LOW) << 4));
        const high =
          ((a >>> 4) & PAIRS) |
          (((b >>> 4) & PAIRS) << 2) |
          (((c >>> 4) & PAIRS) << 4) |
          (((d >>> 4) & PAIRS) << 6);
        putWord(out, unit + 64 + half * 16 + 2 * i, high);
      }
    for (let i = 0; i < 8; i++) {
      const at16 = block * 16 + 2 * i;
      out[unit + 96 + i] = (scales[at16] & 255) | (scales[at16 + 1] << 8);
    }
    out[unit + 104] = row.d[block];
  }
}

export function splitQ6KRow(input: Uint16Array, at: number, row: KRow): void {
  const { lanes, scales } = row;
  for (let block = 0; block < row.d.length; block++) {
    const unit = at + block * UNITS.Q6_K;
    for (let half = 0; half < 2; half++)
      for (let i = 0; i < 8; i++) {
        const lane = block * LANES + half * 32 + i;
        const first = word(input, unit + half * 32 + 2 * i);
        const second = word(input, unit + half * 32 + 16 + 2 * i);
        const high = word(input, unit + 64 + half * 16 + 2 * i);
        lanes[lane] = (first & LOW) | ((high & PAIRS) << 4);
        lanes[lane + 8] = (second & LOW) | (((high >>> 2) & PAIRS) << 4);
        lanes[lane + 16] = ((first >>> 4) & LOW) | (((high >>> 4) & PAIRS) << 4);
        lanes[lane + 24] = ((second >>> 4) & LOW) | (((high >>> 6) & PAIRS) << 4);
      }
    for (let i = 0; i < 8; i++) {
      scales[block * 16 + 2 * i] = input[unit + 96 + i];
      scales[block * 16 + 2 * i + 1] = input[unit + 96 + i] >>> 8;
    }
    row.d[block] = input[unit + 104];
  }
}

/** Eight scales and minima from `at` on, below 64 each, into 12 bytes. */
export function packSixBits(scales: Int8Array, mins: Uint8Array, at: number, packed: Uint8Array): void {
  for (let j = 0; j < 4; j++) {
    const scale = scales[at + 4 + j];
    const min = mins[at + 4 + j];
    packed[j] = scales[at + j] | ((scale >>> 4) << 6);
    packed[4 + j] = mins[at + j] | ((min >>> 4) << 6);
    packed[8 + j] = (scale & 15) | ((min & 15) << 4);
  }
}

function unpackSixBits(packed: Uint8Array, scales: Int8Array, mins: Uint8Array, at: number): void {
  for (let j = 0; j < 4; j++) {
    scales[at + j] = packed[j] & 63;
    mins[at + j] = packed[4 + j] & 63;
    scales[at + 4 + j] = (packed[8 + j] & 15) | ((packed[j] >>> 6) << 4);
    mins[at + 4 + j] = (packed[8 + j] >>> 4) | ((packed[4 + j] >>> 6) << 4);
  }
}

/** Sub-block j of 32 lies in bytes 32·⌊j/2⌋ … + 31, even ones in the low nibbles. */
function joinNibbles(lanes: Uint32Array, lane: number, out: Uint16Array, unit: number): void {
  for (let pair = 0; pair < 4; pair++)
    for (let i = 0; i < 8; i++) {
      const at = lane + 16 * pair + i;
      putWord(out, unit + 16 * pair + 2 * i, lanes[at] | (lanes[at + 8] << 4));
    }
}

function splitNibbles(input: Uint16Array, unit: number, lanes: Uint32Array, lane: number): void {
  for (let pair = 0; pair < 4; pair++)
    for (let i = 0; i < 8; i++) {
      const at = lane + 16 * pair + i;
      const both = word(input, unit + 16 * pair + 2 * i);
      lanes[at] = both & LOW;
      lanes[at + 8] = (both >>> 4) & LOW;
    }
}

/** Q5_K: bit j of byte i is the fifth bit of code 32j + i. */
function addHighBits(input: Uint16Array, unit: number, lanes: Uint32Array, lane: number): void {
  for (let i = 0; i < 8; i++) {
    const high = word(input, unit + 2 * i);
    for (let j = 0; j < 8; j++) lanes[lane + 8 * j + i] |= ((high >>> j) & 0x01010101) << 4;
  }
}

function putWord(out: Uint16Array, unit: number, value: number): void {
  out[unit] = value;
  out[unit + 1] = value >>> 16;
}

function word(input: Uint16Array, unit: number): number {
  return input[unit] | (input[unit + 1] << 16);
}
