import { expect, it } from 'vitest';
import { roundToF16 } from '../../../src/core/dtype.js';
import { createRng } from '../../../src/core/rng.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, float32s, LAYOUTS, place, upload } from '../placed.js';
import { ALL_BITS } from './grids.js';

// Plan: unpacking undoes packing, and scale·(code − zero) is exact in float32, so values are equal bit for bit.
describeKernels('dequantize', (pair) => {
  const shapes = [
    { rows: 1, cols: 32, groups: 1 },
    { rows: 19, cols: 96, groups: 5 },
    { rows: 40, cols: 256, groups: 2 },
  ];
  it.each(shapes.flatMap((shape) => ALL_BITS.map((bits) => ({ ...shape, bits }))))(
    '[$rows, $cols] of $bits bits, $groups groups',
    async ({ rows, cols, groups, bits }) => {
      const rng = createRng(bits);
      const codes = Array.from({ length: rows * cols }, () => rng.int(2 ** bits));
      const groupOf = Array.from({ length: cols }, () => rng.int(groups));
      const scales = float32s(rows * groups, () => roundToF16(rng.normal() ** 2 + 1e-4));
      const zeros = float32s(rows * groups, () => rng.int(2 ** bits));
      const { engine } = pair();
      const packed = engine.create([rows, (cols * bits) / 32], 'u32', 'packed');
      const order = Uint32Array.from({ length: cols }, (_, i) => i);
      engine.packCodes({
        codes: upload(engine, 'codes', 'u8', [rows, cols], codes),
        positionOf: upload(engine, 'positionOf', 'u32', [cols], order),
        bits,
        packed,
      });
      const weight = {
        bits,
        scales: upload(engine, 'scales', 'f32', [rows, groups], scales),
        zeros: upload(engine, 'zeros', 'f32', [rows, groups], zeros),
        outFeatures: rows,
        inFeatures: cols,
        codes: packed,
        groupOf: upload(engine, 'groupOf', 'u32', [cols], groupOf),
      };
      const expected = Float64Array.from(codes, (code, i) => {
        const at = Math.floor(i / cols) * groups + groupOf[i % cols];
        return scales[at] * (code - zeros[at]);
      });
      for (const layout of LAYOUTS) {
        const out = place(engine, 'out', { rows, cols, layout });
        engine.dequantize({ weight, out: out.view });
        expect(firstMismatch(await out.take(), expected)).toBe(-1);
      }
    },
  );
});
