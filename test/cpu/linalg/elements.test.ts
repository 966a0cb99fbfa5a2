import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../../src/core/dtype.js';
import { readReals } from '../../../src/engine/engine.js';
import { CPU_CASES } from '../engines.js';
import { expectTable, randomTable, readTable, stridedView, transposeTable } from '../strided.js';

// Plan: the element-wise operations of linear algebra on ragged strided views against their definitions.
describe.each(CPU_CASES)('matrix elements · $name', ({ make, unit }) => {
  it('transposes whole matrices and mirrors a triangle in place', async () => {
    const engine = await make();
    const from = randomTable(45, 67, 1);
    const to = stridedView(engine, randomTable(67, 45, 2));
    engine.transpose({ from: stridedView(engine, from), to });
    expectTable(await readTable(engine, to), transposeTable(from), 0);

    const square = randomTable(70, 70, 3);
    const view = stridedView(engine, square);
    engine.transpose({ from: view, to: view, triangle: { part: 'lower', rowOffset: 0 } });
    const mirrored = square.map((row, i) => row.map((value, j) => (j <= i ? square[j][i] : value)));
    expectTable(await readTable(engine, view), mirrored, 0);
    await engine.dispose();
  });

  it('scales a triangle, moves diagonals, copies', async () => {
    const engine = await make();
    const table = randomTable(9, 13, 4);
    const x = stridedView(engine, table);
    engine.scale({ x, factor: 0.5, triangle: { part: 'upper', rowOffset: 2 } });
    const scaled = table.map((row, i) => row.map((value, j) => (i + 2 <= j ? value / 2 : value)));
    expectTable(await readTable(engine, x), scaled, 0);

    const square = stridedView(engine, randomTable(6, 6, 5));
    const before = await readTable(engine, square);
    const vector = engine.upload(new Float32Array(10).fill(7), [10], 'f32', 'vector');
    engine.getDiagonal({ from: square, to: vector, toOffset: 2 });
    expect(Array.from(await readReals(engine, vector))).toEqual([
      7,
      7,
      ...before.map((row, i) => row[i]),
      7,
      7,
    ]);
    engine.setDiagonal({ from: vector, fromOffset: 4, to: square });
    const diagonal = [2, 3, 4, 5].map((i) => before[i][i]).concat(7, 7);
    expectTable(
      await readTable(engine, square),
      before.map((row, i) => row.map((value, j) => (i === j ? diagonal[i] : value))),
      0,
    );

    const copy = stridedView(engine, randomTable(9, 13, 6));
    engine.copy({ from: x, to: copy });
    expectTable(await readTable(engine, copy), scaled, 0);
    await engine.dispose();
  });

  it('widens f16 and bf16 exactly, subnormals, infinities and NaN included', async () => {
    const engine = await make();
    for (const [dtype, encode, decode] of [
      ['f16', f32ToF16, f16ToF32],
      ['bf16', f32ToBf16, bf16ToF32],
    ] as const) {
      const bits = Uint16Array.from([
        1,
        0x8001,
        0x3ff,
        0x7bff,
        0x7c00,
        0xff80,
        ...[0.1, -3.5, 1e-7].map(encode),
      ]);
      const tensor = engine.upload(bits, [3, 3], dtype, 'half');
      const to = stridedView(engine, randomTable(2, 2, 1));
      engine.copy({ from: { tensor, rows: 2, cols: 2, offset: 1, stride: 3 }, to });
      const wanted = [1, 2, 4, 5].map((i) => decode(bits[i]));
      expect((await readTable(engine, to)).flat()).toEqual(wanted);
    }
    await engine.dispose();
  });

  it('sums row products and counts rows that are not finite', async () => {
    const engine = await make();
    const x = randomTable(5, 103, 7);
    const y = randomTable(5, 103, 8);
    const to = engine.upload(new Float32Array([1, 2, 3, 4, 5, 6]), [6], 'f32', 'sums');
    engine.addRowDots({ x: stridedView(engine, x), y: stridedView(engine, y), to });
    const sums = x.map((row, i) => i + 1 + row.reduce((sum, value, j) => sum + value * y[i][j], 0));
    expectTable([Array.from(await readReals(engine, to))], [[...sums, 6]], 120 * unit);

    const count = engine.upload(new Uint32Array([10]), [1], 'u32', 'count');
    const spoilt = x.map((row) => row.slice());
    spoilt[0][102] = NaN;
    spoilt[2][0] = -Infinity;
    spoilt[2][50] = Infinity;
    engine.countNonFiniteRows({ x: stridedView(engine, spoilt), count });
    engine.countNonFiniteRows({ x: stridedView(engine, x), count });
    expect(await engine.read(count)).toEqual(new Uint32Array([12]));
    await engine.dispose();
  });
});
