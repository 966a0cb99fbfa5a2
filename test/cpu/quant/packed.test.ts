import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../../src/core/dtype.js';
import { createRng, shuffledIndices } from '../../../src/core/rng.js';
import type { Bits } from '../../../src/engine/quant.js';
import { CPU_CASES } from '../engines.js';
import {
  expectTable,
  multiplyTables,
  randomTable,
  readTable,
  stridedView,
  transposeTable,
} from '../strided.js';
import type { Table } from '../strided.js';

const BITS: readonly Bits[] = [2, 3, 4, 5, 6, 8];
const [ROWS, COLS, GROUPS] = [5, 96, 3];

/** One row of codes as bits, least significant first, cut into words. */
function wordsOf(codes: readonly number[], bits: Bits): number[] {
  const stream = codes.flatMap((code) => Array.from({ length: bits }, (_, b) => (code >> b) & 1));
  return Array.from({ length: stream.length / 32 }, (_, w) =>
    stream.slice(32 * w, 32 * w + 32).reduce((word, bit, i) => word + bit * 2 ** i, 0),
  );
}

// Plan: packing undoes an order into the documented bit stream; dequantize and linear read that stream back, with
// groups in any order, f16 and bf16 and f32 weights, with and without bias.
describe.each(CPU_CASES)('packed codes · $name', ({ make, unit }) => {
  it.each(BITS)('%i bits: pack, dequantize, linear', async (bits) => {
    const engine = await make();
    const rng = createRng(bits);
    const codes = Array.from({ length: ROWS }, () => Array.from({ length: COLS }, () => rng.int(2 ** bits)));
    const positionOf = shuffledIndices(COLS, 3);
    const packed = engine.create([ROWS, (COLS * bits) / 32], 'u32', 'packed');
    engine.packCodes({
      codes: engine.upload(Uint8Array.from(codes.flat()), [ROWS, COLS], 'u8', 'codes'),
      positionOf: engine.upload(positionOf, [COLS], 'u32', 'positions'),
      bits,
      packed,
    });
    const original = codes.map((row) => Array.from(positionOf, (position) => row[position]));
    expect(Array.from(await engine.read(packed))).toEqual(original.flatMap((row) => wordsOf(row, bits)));

    const groupOf = Uint32Array.from({ length: COLS }, () => rng.int(GROUPS));
    const scales = randomTable(ROWS, GROUPS, 4);
    const zeros = randomTable(ROWS, GROUPS, 5).map((row) =>
      row.map((value) => Math.round(Math.abs(value) * 3)),
    );
    const real = (table: Table) =>
      engine.upload(Float32Array.from(table.flat()), [ROWS, GROUPS], 'f32', 'grid');
    const weight = {
      kind: 'affine',
      bits,
      outFeatures: ROWS,
      inFeatures: COLS,
      codes: packed,
      scales: real(scales),
      zeros: real(zeros),
      groupOf: engine.upload(groupOf, [COLS], 'u32', 'g_idx'),
    } as const;
    const values = original.map((row, i) =>
      row.map((code, k) => scales[i][groupOf[k]] * (code - zeros[i][groupOf[k]])),
    );
    const out = stridedView(engine, randomTable(ROWS, COLS, 6));
    engine.dequantize({ weight, out });
    expectTable(await readTable(engine, out), values, 256 * unit);

    const x = randomTable(7, COLS, 7);
    const bias = [0.5, -1, 2, 0, 3];
    const y = stridedView(engine, randomTable(7, ROWS, 8));
    engine.linear({
      x: stridedView(engine, x),
      weight,
      bias: engine.upload(Uint16Array.from(bias, f32ToF16), [ROWS], 'f16', 'bias'),
      out: y,
    });
    const wanted = multiplyTables(x, transposeTable(values)).map((row) =>
      row.map((value, j) => value + bias[j]),
    );
    expectTable(await readTable(engine, y), wanted, 256 * COLS * unit);
    await engine.dispose();
  });

  it.each(['f32', 'f16', 'bf16'] as const)('linear with a dense %s weight', async (dtype) => {
    const engine = await make();
    const raw = randomTable(13, 41, 9);
    const half = { f16: [f32ToF16, f16ToF32], bf16: [f32ToBf16, bf16ToF32] } as const;
    const values =
      dtype === 'f32' ? raw : raw.map((row) => row.map((value) => half[dtype][1](half[dtype][0](value))));
    const data =
      dtype === 'f32' ? Float32Array.from(raw.flat()) : Uint16Array.from(raw.flat(), half[dtype][0]);
    const x = randomTable(6, 41, 10);
    const out = stridedView(engine, randomTable(6, 13, 11));
    const tensor = engine.upload(data, [13, 41], dtype, 'weight');
    engine.linear({ x: stridedView(engine, x), weight: { kind: 'dense', tensor }, out });
    expectTable(await readTable(engine, out), multiplyTables(x, transposeTable(values)), 4 * 42 * unit);
    await engine.dispose();
  });
});
