/**
 * A small WebAssembly assembler: expressions are byte sequences that nest like the text form, so a function reads from
 * the inside out. Only what row-module.ts needs is here. Source: WebAssembly core specification 2.0, section 5 (binary
 * format) and the SIMD opcodes of section 5.4.8.
 */

/** Instructions that leave one value, or none for statements. */
export type Code = readonly number[];

export const I32 = 0x7f;
export const V128 = 0x7b;
type ValueType = typeof I32 | typeof V128;

export interface Local {
  readonly get: Code;
  set(value: Code): Code;
}

/** One exported function without a result. Parameters are i32, all of them. */
export interface WasmFunction {
  readonly name: string;
  readonly params: number;
  readonly locals: readonly ValueType[];
  readonly body: Code;
}

/** Hands out parameters and locals of a function, then takes its statements. */
export function defineFunction(
  name: string,
  params: number,
  build: (params: readonly Local[], local: (type: ValueType) => Local) => readonly Code[],
): WasmFunction {
  const locals: ValueType[] = [];
  const variable = (index: number): Local => ({
    get: [0x20, ...unsigned(index)],
    set: (value) => [...value, 0x21, ...unsigned(index)],
  });
  const named = Array.from({ length: params }, (_, i) => variable(i));
  const statements = build(named, (type) => {
    locals.push(type);
    return variable(params + locals.length - 1);
  });
  return { name, params, locals, body: statements.flat() };
}

/** The bytes of a module with these functions; its memory is imported as "env" "memory". */
export function assembleModule(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ params }) => [0x60, ...vector(Array<Code>(params).fill([I32])), 0]);
  const memory = [...text('env'), ...text('memory'), 0x02, 0x00, 0x01];
  const exports = functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]);
  const bodies = functions.map(({ locals, body }) => {
    const declared = vector(locals.map((type) => [1, type]));
    const code = [...declared, ...body, 0x0b];
    return [...unsigned(code.length), ...code];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, types),
    ...section(2, [memory]),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ),
    ...section(7, exports),
    ...section(10, bodies),
  ]);
}

function section(id: number, entries: readonly Code[]): Code {
  const content = vector(entries);
  return [id, ...unsigned(content.length), ...content];
}

function vector(entries: readonly Code[]): Code {
  return [...unsigned(entries.length), ...entries.flat()];
}

function text(value: string): Code {
  const bytes = [...new TextEncoder().encode(value)];
  return [...unsigned(bytes.length), ...bytes];
}

/** LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  do {
    const rest = Math.floor(value / 128);
    bytes.push((value % 128) + (rest > 0 ? 128 : 0));
    value = rest;
  } while (value > 0);
  return bytes;
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    if ((value === 0 && (low & 0x40) === 0) || (value === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

/** Repeats `body` while `condition` holds. */
export function loopWhile(condition: Code, body: readonly Code[]): Code {
  return [0x02, 0x40, 0x03, 0x40, ...condition, 0x45, 0x0d, 1, ...body.flat(), 0x0c, 0, 0x0b, 0x0b];
}

const binary =
  (opcode: number) =>
  (a: Code, b: Code): Code => [...a, ...b, opcode];

export const i32 = {
  const: (value: number): Code => [0x41, ...signed(value)],
  add: binary(0x6a),
  sub: binary(0x6b),
  mul: binary(0x6c),
  and: binary(0x71),
  ltU: binary(0x49),
};

const simd =
  (opcode: number) =>
  (...operands: readonly Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(opcode)];
/** Alignment hint 0: addresses may be odd. */
const memory =
  (opcode: number, ...lane: number[]) =>
  (offset: number, ...operands: readonly Code[]): Code => [
    ...operands.flat(),
    0xfd,
    ...unsigned(opcode),
    0,
    ...unsigned(offset),
    ...lane,
  ];

/** load(offset, address), store(offset, address, value). */
export const v128 = {
  load: memory(0x00),
  /** Four 16-bit elements, each widened to 32 bits. */
  load16x4U: memory(0x04),
  load32Splat: memory(0x09),
  store: memory(0x0b),
  store32Lane0: memory(0x5a, 0),
  store64Lane0: memory(0x5b, 0),
  store64Lane1: memory(0x5b, 1),
  and: simd(0x4e),
  or: simd(0x50),
  /** Lane i of the result is lane lanes[i] of a (0 … 3) or b (4 … 7), lanes of 32 bits. */
  shuffle32: (a: Code, b: Code, lanes: readonly number[]): Code => [
    ...a,
    ...b,
    0xfd,
    0x0d,
    ...lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte)),
  ],
};

export const i8x16 = { narrowI16x8U: simd(0x66), swizzle: simd(0x0e) };

export const i16x8 = {
  narrowI32x4U: simd(0x86),
  shl: simd(0x8b),
  shrU: simd(0x8d),
};

export const i32x4 = {
  shl: simd(0xab),
  gtS: simd(0x3b),
  sub: simd(0xb1),
  maxU: simd(0xb9),
};

export const i64x2 = { shrU: simd(0xcd) };

export const f32x4 = {
  /** The same number in all lanes. */
  const: (value: number): Code => {
    const bytes = [...new Uint8Array(Float32Array.of(value, value, value, value).buffer)];
    return [0xfd, 0x0c, ...bytes];
  },
  mul: simd(0xe6),
  /** b < a ? b : a, one instruction where `min` of NaN and zeros takes several. */
  pmin: simd(0xea),
  /** a < b ? b : a. */
  pmax: simd(0xeb),
  gt: simd(0x44),
};

export const f64x2 = {
  /** The same number in both lanes. */
  const: (value: number): Code => [0xfd, 0x0c, ...new Uint8Array(Float64Array.of(value, value).buffer)],
  /** The first two floats as doubles. */
  promoteLow: simd(0x5f),
  add: simd(0xf0),
  sub: simd(0xf1),
  div: simd(0xf3),
  pmin: simd(0xf6),
  pmax: simd(0xf7),
  /** Halves to even. */
  nearest: simd(0x94),
};

/** The same 32 bits in all lanes. */
export function bits32(value: number): Code {
  const bytes = [...new Uint8Array(Uint32Array.of(value, value, value, value).buffer)];
  return [0xfd, 0x0c, ...bytes];
}
