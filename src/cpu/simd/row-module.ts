/**
 * The loops over elements of round-to-nearest and codebook quantization as WebAssembly SIMD: what is done for every
 * weight. What is done once a group (scales, zeros) stays in TypeScript. All addresses are bytes and need no alignment;
 * counts are multiples of 4, rooms for results are rounded up to 16 bytes.
 */
import {
  assembleModule,
  bits32,
  defineFunction,
  f32x4,
  f64x2,
  i16x8,
  i32,
  i32x4,
  i64x2,
  i8x16,
  loopWhile,
  I32,
  v128,
  V128,
} from './wasm-assembler.js';
import type { Code, Local, WasmFunction } from './wasm-assembler.js';

/** Functions of the module by name; every argument is an address in bytes or a count. */
export interface RowModule {
  /** to f32[count] ← from bf16[count]. */
  widenBf16(from: number, to: number, count: number): void;
  /** to f32[count] ← from f16[count]; subnormals, infinities and NaN are kept. */
  widenF16(from: number, to: number, count: number): void;
  /**
   * Of each group of `size` floats: to[3·group] ← least, to[3·group + 1] ← greatest, to[3·group + 2] ← largest magnitude
   * by its bits, so that NaN and infinity win.
   */
  ranges(from: number, groups: number, size: number, to: number): void;
  /**
   * to u8 ← clamp(round(x/scale + (zero − Z)) + Z, 0, top) with Z = round(zero), halves to even, in float64.
   * scales and zeros: f32[groups]; top: address of one f32.
   */
  affineCodes(
    from: number,
    groups: number,
    size: number,
    scales: number,
    zeros: number,
    top: number,
    to: number,
  ): void;
  /**
   * to u8 ← order[number of bounds below f32(x·factor)]. factors: f32[groups]; bounds: f32[15] ascending;
   * order: u8[16].
   */
  codebookCodes(
    from: number,
    groups: number,
    size: number,
    factors: number,
    bounds: number,
    order: number,
    to: number,
  ): void;
  /** Codes u8[count] of `bits` bits to one bit stream, least significant bits first. Writes up to 8 − bits bytes beyond. */
  packBits(from: number, count: number, bits: number, to: number): void;
  /** Codes u8[count] to nibbles, the first of two in the high one. */
  packNibbles(from: number, count: number, to: number): void;
}

export function rowModuleBytes(): Uint8Array<ArrayBuffer> {
  return assembleModule([
    widen('widenBf16', (half) => i32x4.shl(half, i32.const(16))),
    widen('widenF16', widenF16),
    ranges(),
    affineCodes(),
    codebookCodes(),
    packBits(),
    packNibbles(),
  ]);
}

/** address ← address + bytes. */
function advance(address: Local, bytes: number): Code {
  return address.set(i32.add(address.get, i32.const(bytes)));
}

/** The address `count` elements of `bytes` bytes after `start`. */
function endOf(start: Local, count: Local, bytes: number): Code {
  return i32.add(start.get, i32.mul(count.get, i32.const(bytes)));
}

function widen(name: string, convert: (half: Code, scratch: Local) => Code): WasmFunction {
  return defineFunction(name, 3, ([from, to, count], local) => {
    const end = local(I32);
    const half = local(V128);
    return [
      end.set(endOf(to, count, 4)),
      loopWhile(i32.ltU(to.get, end.get), [
        half.set(v128.load16x4U(0, from.get)),
        v128.store(0, to.get, convert(half.get, half)),
        advance(from, 8),
        advance(to, 16),
      ]),
    ];
  });
}

/**
 * Magnitude bits at their place in a float32 are 2^−112 times the value, subnormals included; exponent 31 is set to 255
 * after the multiplication.
 */
function widenF16(half: Code): Code {
  const magnitude = v128.and(half, bits32(0x7fff));
  const value = f32x4.mul(i32x4.shl(magnitude, i32.const(13)), f32x4.const(2 ** 112));
  const special = v128.and(i32x4.gtS(magnitude, bits32(0x7bff)), bits32(0x7f800000));
  const sign = i32x4.shl(v128.and(half, bits32(0x8000)), i32.const(16));
  return v128.or(v128.or(value, special), sign);
}

function ranges(): WasmFunction {
  return defineFunction('ranges', 4, ([from, groups, size, to], local) => {
    const [last, end] = [local(I32), local(I32)];
    const [x, low, high, magnitude] = [local(V128), local(V128), local(V128), local(V128)];
    // All lanes to one: halves against each other, then neighbours.
    const fold = (vector: Local, combine: (a: Code, b: Code) => Code): Code => [
      ...vector.set(combine(vector.get, v128.shuffle32(vector.get, vector.get, [2, 3, 0, 1]))),
      ...vector.set(combine(vector.get, v128.shuffle32(vector.get, vector.get, [1, 0, 3, 2]))),
    ];
    return [
      last.set(endOf(to, groups, 12)),
      loopWhile(i32.ltU(to.get, last.get), [
        end.set(endOf(from, size, 4)),
        low.set(v128.load(0, from.get)),
        high.set(low.get),
        magnitude.set(bits32(0)),
        loopWhile(i32.ltU(from.get, end.get), [
          x.set(v128.load(0, from.get)),
          low.set(f32x4.pmin(low.get, x.get)),
          high.set(f32x4.pmax(high.get, x.get)),
          magnitude.set(i32x4.maxU(magnitude.get, v128.and(x.get, bits32(0x7fffffff)))),
          advance(from, 16),
        ]),
        fold(low, f32x4.pmin),
        fold(high, f32x4.pmax),
        fold(magnitude, i32x4.maxU),
        v128.store32Lane0(0, to.get, low.get),
        v128.store32Lane0(4, to.get, high.get),
        v128.store32Lane0(8, to.get, magnitude.get),
        advance(to, 12),
      ]),
    ];
  });
}

/**
 * Runs over the groups of a row: `start` at the beginning of each, then `code` of four floats at an offset from the
 * address, an integer in the low byte of each lane. Sixteen at a time, then what is left by fours.
 */
function eachFour(
  cursors: { readonly from: Local; readonly to: Local; readonly groups: Local; readonly size: Local },
  local: (type: typeof I32 | typeof V128) => Local,
  start: readonly Code[],
  code: (offset: number) => Code,
): Code[] {
  const { from, to, groups, size } = cursors;
  const [last, end, whole] = [local(I32), local(I32), local(I32)];
  const rowEnd = i32.add(from.get, i32.mul(i32.mul(groups.get, size.get), i32.const(4)));
  const pair = (offset: number): Code => i16x8.narrowI32x4U(code(offset), code(offset + 16));
  return [
    last.set(rowEnd),
    loopWhile(i32.ltU(from.get, last.get), [
      ...start,
      end.set(endOf(from, size, 4)),
      whole.set(i32.add(from.get, i32.and(i32.mul(size.get, i32.const(4)), i32.const(-64)))),
      loopWhile(i32.ltU(from.get, whole.get), [
        v128.store(0, to.get, i8x16.narrowI16x8U(pair(0), pair(32))),
        advance(from, 64),
        advance(to, 16),
      ]),
      loopWhile(i32.ltU(from.get, end.get), [
        v128.store32Lane0(0, to.get, i8x16.narrowI16x8U(i16x8.narrowI32x4U(code(0), code(0)), bits32(0))),
        advance(from, 16),
        advance(to, 4),
      ]),
    ]),
  ];
}

function affineCodes(): WasmFunction {
  return defineFunction('affineCodes', 7, ([from, groups, size, scales, zeros, topAt, to], local) => {
    const [scale, shift, zero, top] = [local(V128), local(V128), local(V128), local(V128)];
    const x = local(V128);
    const half = (pair: Code): Code => {
      const rounded = f64x2.nearest(f64x2.add(f64x2.div(f64x2.promoteLow(pair), scale.get), shift.get));
      const clamped = f64x2.pmin(f64x2.pmax(f64x2.add(rounded, zero.get), f64x2.const(0)), top.get);
      // 2^52 leaves the integer in the low bits.
      return f64x2.add(clamped, f64x2.const(2 ** 52));
    };
    const code = (offset: number): Code => [
      ...x.set(v128.load(offset, from.get)),
      ...v128.and(
        v128.shuffle32(half(x.get), half(v128.shuffle32(x.get, x.get, [2, 3, 2, 3])), [0, 2, 4, 6]),
        bits32(0xff),
      ),
    ];
    return [
      top.set(f64x2.promoteLow(v128.load32Splat(0, topAt.get))),
      ...eachFour(
        { from, to, groups, size },
        local,
        [
          scale.set(f64x2.promoteLow(v128.load32Splat(0, scales.get))),
          shift.set(f64x2.promoteLow(v128.load32Splat(0, zeros.get))),
          zero.set(f64x2.nearest(shift.get)),
          shift.set(f64x2.sub(shift.get, zero.get)),
          advance(scales, 4),
          advance(zeros, 4),
        ],
        code,
      ),
    ];
  });
}

function codebookCodes(): WasmFunction {
  return defineFunction('codebookCodes', 7, ([from, groups, size, factors, bounds, order, to], local) => {
    const [factor, table, x] = [local(V128), local(V128), local(V128)];
    const limits = Array.from({ length: 15 }, () => local(V128));
    const code = (offset: number): Code => {
      // A mask is −1 where it holds.
      const count = limits.reduce((sum, limit) => i32x4.sub(sum, f32x4.gt(x.get, limit.get)), bits32(0));
      return [...x.set(f32x4.mul(v128.load(offset, from.get), factor.get)), ...count];
    };
    return [
      table.set(v128.load(0, order.get)),
      ...limits.map((limit, i) => limit.set(v128.load32Splat(4 * i, bounds.get))),
      ...eachFour(
        { from, to, groups, size },
        local,
        [factor.set(v128.load32Splat(0, factors.get)), advance(factors, 4)],
        (offset) => v128.and(i8x16.swizzle(table.get, code(offset)), bits32(0xff)),
      ),
    ];
  });
}

/** Two codes to one lane of 16 bits, two of these to one of 32, two of these to one of 64: eight codes in 8·bits bits. */
function packBits(): WasmFunction {
  return defineFunction('packBits', 4, ([from, count, bits, to], local) => {
    const [end, step] = [local(I32), local(I32)];
    const x = local(V128);
    const join = (low: number, high: number, lowWide: boolean, width: number): Code => {
      const mask = (word: number, wide: boolean): Code => (wide ? bits64(word, 0) : bits32(word));
      const upper = lowWide ? bits64(0, 0xffffffff) : bits32(high);
      const shift = i32.sub(i32.const(width), i32.mul(bits.get, i32.const(width / 8)));
      return x.set(v128.or(v128.and(x.get, mask(low, lowWide)), i64x2.shrU(v128.and(x.get, upper), shift)));
    };
    return [
      end.set(i32.add(from.get, count.get)),
      loopWhile(i32.ltU(from.get, end.get), [
        x.set(v128.load(0, from.get)),
        join(0x00ff00ff, 0xff00ff00, false, 8),
        join(0x0000ffff, 0xffff0000, false, 16),
        join(0xffffffff, 0, true, 32),
        v128.store64Lane0(0, to.get, x.get),
        step.set(i32.add(to.get, bits.get)),
        v128.store64Lane1(0, step.get, x.get),
        to.set(i32.add(step.get, bits.get)),
        advance(from, 16),
      ]),
    ];
  });
}

/** The same 64 bits in both lanes, low word first. */
function bits64(low: number, high: number): Code {
  const bytes = [...new Uint8Array(Uint32Array.of(low, high, low, high).buffer)];
  return [0xfd, 0x0c, ...bytes];
}

function packNibbles(): WasmFunction {
  return defineFunction('packNibbles', 3, ([from, count, to], local) => {
    const end = local(I32);
    const x = local(V128);
    const joined = v128.and(
      v128.or(i16x8.shl(x.get, i32.const(4)), i16x8.shrU(x.get, i32.const(8))),
      bits32(0x00ff00ff),
    );
    return [
      end.set(i32.add(from.get, count.get)),
      loopWhile(i32.ltU(from.get, end.get), [
        x.set(v128.load(0, from.get)),
        v128.store64Lane0(0, to.get, i8x16.narrowI16x8U(joined, bits32(0))),
        advance(from, 16),
        advance(to, 8),
      ]),
    ];
  });
}
