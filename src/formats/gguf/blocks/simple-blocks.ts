/**
 * Blocks of 32 (ggml/src/ggml-common.h): a float16 scale, in *_1 types a float16 minimum, in Q5 types 32 high bits, then
 * the codes. Byte j of 16 holds code j in its low nibble and code j + 16 in its high one; Q8_0 holds code − 128 as int8.
 * Everything is written as 16-bit units: blocks are even in size but not multiples of four.
 */

export type SimpleType = 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0';

/** What a simple type holds: value = scale·(code − 2^(bits−1)), or scale·code + min. */
export const SIMPLE_TYPES: Readonly<
  Record<SimpleType, { readonly bits: 4 | 5 | 8; readonly hasMin: boolean }>
> = {
  Q4_0: { bits: 4, hasMin: false },
  Q4_1: { bits: 4, hasMin: true },
  Q5_0: { bits: 5, hasMin: false },
  Q5_1: { bits: 5, hasMin: true },
  Q8_0: { bits: 8, hasMin: false },
};

export const SIMPLE_BLOCK = 32;
const LANES = SIMPLE_BLOCK / 4;

/** One row in parts: lanes [K/4], float16 bits [K/32]; mins only where the type has them. */
export interface SimpleRow {
  readonly lanes: Uint32Array;
  readonly scales: Uint16Array;
  readonly mins: Uint16Array;
}

/** Parts → blocks, from unit `at` of `out` on. */
export function joinSimpleRow(type: SimpleType, row: SimpleRow, out: Uint16Array, at: number): void {
  const { bits, hasMin } = SIMPLE_TYPES[type];
  const { lanes, scales, mins } = row;
  let unit = at;
  for (let block = 0; block < scales.length; block++) {
    out[unit++] = scales[block];
    if (hasMin) out[unit++] = mins[block];
    const lane = block * LANES;
    if (bits === 4) joinNibbles(lanes, lane, out, unit);
    else if (bits === 5) {
      const high = joinHighBits(lanes, lane);
      out[unit++] = high;
      out[unit++] = high >>> 16;
      joinNibbles(lanes, lane, out, unit);
    } else joinBytes(lanes, lane, out, unit);
    unit += bits === 8 ? 16 : 8;
  }
}

/** Blocks → parts; fills the arrays of `row`. */
export function splitSimpleRow(type: SimpleType, input: Uint16Array, at: number, row: SimpleRow): void {
  const { bits, hasMin } = SIMPLE_TYPES[type];
  const { lanes, scales, mins } = row;
  let unit = at;
  for (let block = 0; block < scales.length; block++) {
    scales[block] = input[unit++];
    if (hasMin) mins[block] = input[unit++];
    const lane = block * LANES;
    if (bits === 4) splitNibbles(input, unit, lanes, lane);
    else if (bits === 5) {
      splitNibbles(input, unit + 2, lanes, lane);
      addHighBits(input[unit] | (input[unit + 1] << 16), lanes, lane);
      unit += 2;
    } else splitBytes(input, unit, lanes, lane);
    unit += bits === 8 ? 16 : 8;
  }
}

function joinNibbles(lanes: Uint32Array, lane: number, out: Uint16Array, unit: number): void {
  for (let i = 0; i < 4; i++) {
    const word = (lanes[lane + i] & 0x0f0f0f0f) | ((lanes[lane + 4 + i] & 0x0f0f0f0f) << 4);
    out[unit + 2 * i] = word;
    out[unit + 2 * i + 1] = word >>> 16;
  }
}

function splitNibbles(input: Uint16Array, unit: number, lanes: Uint32Array, lane: number): void {
  for (let i = 0; i < 4; i++) {
    const word = input[unit + 2 * i] | (input[unit + 2 * i + 1] << 16);
    lanes[lane + i] = word & 0x0f0f0f0f;
    lanes[lane + 4 + i] = (word >>> 4) & 0x0f0f0f0f;
  }
}

/** Bit j is bit 4 of code j. The product moves bit 8i of a lane to bit 28 + i, with nothing to carry. */
function joinHighBits(lanes: Uint32Array, lane: number): number {
  let high = 0;
  for (let i = 0; i < LANES; i++)
    high |= (Math.imul((lanes[lane + i] >>> 4) & 0x01010101, 0x10204080) >>> 28) << (4 * i);
  return high;
}

/** The inverse: bits 0 … 3 to bits 0, 8, 16, 24 of a lane, then to the fifth bit of each code. */
function addHighBits(high: number, lanes: Uint32Array, lane: number): void {
  for (let i = 0; i < LANES; i++)
    lanes[lane + i] |= (Math.imul((high >>> (4 * i)) & 15, 0x00204081) & 0x01010101) << 4;
}

function joinBytes(lanes: Uint32Array, lane: number, out: Uint16Array, unit: number): void {
  for (let i = 0; i < LANES; i++) {
    const word = lanes[lane + i] ^ 0x80808080;
    out[unit + 2 * i] = word;
    out[unit + 2 * i + 1] = word >>> 16;
  }
}

function splitBytes(input: Uint16Array, unit: number, lanes: Uint32Array, lane: number): void {
  for (let i = 0; i < LANES; i++)
    lanes[lane + i] = (input[unit + 2 * i] | (input[unit + 2 * i + 1] << 16)) ^ 0x80808080;
}
