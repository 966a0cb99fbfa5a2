import { describe, expect, it } from 'vitest';
import { roundToF16 } from '../../../src/core/dtype.js';
import type { Bits, RangeRule } from '../../../src/engine/quant.js';
import { asMatrix } from '../../../src/engine/tensor.js';
import { CPU_CASES } from '../engines.js';
import { expectTable, randomTable, readTable, stridedView } from '../strided.js';
import type { Table } from '../strided.js';

interface Choice {
  readonly bits: Bits;
  readonly rule: RangeRule;
  readonly minZero: 0 | 1;
  readonly range: 'minmax' | 'mse';
}

/** Half to even, written without the trick of the engine. */
function round(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

function grid(low: number, high: number, { bits, rule, minZero }: Choice): [number, number] {
  const top = 2 ** bits - 1;
  const f16 = (value: number) => Math.max(roundToF16(value), 2 ** -24);
  if (rule === 'symmetric') return [f16((2 * Math.max(-low, high)) / top), 2 ** (bits - 1)];
  const scale = f16((high - low) / top);
  const zero = Math.min(round(-low / scale), top);
  return zero < minZero ? [f16(high / (top - minZero)), minZero] : [scale, zero];
}

/** Scale and zero of one group by the definition, all 80 candidates worked out. */
function rangeOf(group: readonly number[], choice: Choice): [number, number] {
  let [low, high] = [Math.min(0, ...group), Math.max(0, ...group)];
  if (low === 0 && high === 0) [low, high] = [-1, 1];
  if (choice.range === 'minmax') return grid(low, high, choice);
  const top = 2 ** choice.bits - 1;
  const candidates = Array.from({ length: 80 }, (_, i) =>
    grid(low * (1 - i / 100), high * (1 - i / 100), choice),
  );
  const errors = candidates.map(([s, z]) =>
    group.reduce((sum, w) => {
      const code = Math.min(Math.max(round(w / s) + z, 0), top);
      return sum + Math.abs(w - s * (code - z)) ** 2.4;
    }, 0),
  );
  return candidates[errors.indexOf(Math.min(...errors))];
}

const CHOICES: readonly Choice[] = [
  { bits: 4, rule: 'symmetric', minZero: 1, range: 'minmax' },
  { bits: 4, rule: 'asymmetric', minZero: 1, range: 'minmax' },
  { bits: 3, rule: 'asymmetric', minZero: 0, range: 'minmax' },
  { bits: 2, rule: 'asymmetric', minZero: 1, range: 'mse' },
  { bits: 4, rule: 'symmetric', minZero: 0, range: 'mse' },
  { bits: 8, rule: 'asymmetric', minZero: 1, range: 'mse' },
];

/** Rows with ordinary, one-sided, zero, tiny and outlier groups of 12. */
function weights(): Table {
  const table = randomTable(6, 36, 11);
  table[1] = table[1].map(Math.abs);
  table[2] = table[2].map((value) => -Math.abs(value));
  table[3] = table[3].map((value, j) => (j < 12 ? 0 : value * 1e-9));
  table[4][5] = 40;
  return table;
}

// Plan: scales and zeros equal the definition for every choice, in the right columns and nowhere else; then rounding
// to them gives codes and errors by the formula.
describe.each(CPU_CASES)('ranges and nearest · $name', ({ make, unit }) => {
  it.each(CHOICES)('%o', async (choice) => {
    const engine = await make();
    const w = weights();
    const scales = engine.upload(new Float32Array(30).fill(-7), [6, 5], 'f32', 'scales');
    const zeros = engine.upload(new Float32Array(30).fill(-7), [6, 5], 'f32', 'zeros');
    const options = { w: stridedView(engine, w), groupSize: 12, scales, zeros, firstGroup: 1, ...choice };
    engine.groupRange(options);
    const wanted = w.map((row) => [0, 12, 24].map((start) => rangeOf(row.slice(start, start + 12), choice)));
    const pad = (part: 0 | 1) => wanted.map((row) => [-7, ...row.map((pair) => pair[part]), -7]);
    expectTable(await readTable(engine, asMatrix(scales)), pad(0), 0);
    expectTable(await readTable(engine, asMatrix(zeros)), pad(1), 0);

    const groupOf = engine.upload(
      Uint32Array.from({ length: 40 }, (_, k) => 1 + Math.floor((k - 4) / 12)),
      [40],
      'u32',
      'g',
    );
    const codes = {
      tensor: engine.create([6 * 40], 'u8', 'codes', { zero: true }),
      rows: 6,
      cols: 36,
      offset: 4,
      stride: 40,
    };
    const error = stridedView(engine, w);
    const { bits } = choice;
    engine.quantizeNearest({
      bits,
      scales,
      zeros,
      w: options.w,
      groupOf,
      firstColumn: 4,
      codes: { ...codes },
      error,
    });
    const quantized = w.map((row, i) =>
      row.map((value, j) => {
        const [s, z] = wanted[i][Math.floor(j / 12)];
        return Math.min(Math.max(round(value / s) + z, 0), 2 ** bits - 1);
      }),
    );
    const bytes = await engine.read(codes.tensor);
    expect(quantized.map((_, i) => Array.from(bytes.subarray(4 + i * 40, 40 + i * 40)))).toEqual(quantized);
    const errors = w.map((row, i) =>
      row.map((value, j) => {
        const [s, z] = wanted[i][Math.floor(j / 12)];
        return value - s * (quantized[i][j] - z);
      }),
    );
    expectTable(await readTable(engine, error), errors, 40 * unit);
    await engine.dispose();
  });

  it('rounds halves to even', async () => {
    const engine = await make();
    const w = [[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 100, -100]];
    const one = (value: number) => engine.upload(new Float32Array([value]), [1, 1], 'f32', 'one');
    const codes = asMatrix(engine.create([1, 8], 'u8', 'codes'));
    engine.quantizeNearest({
      bits: 4,
      scales: one(1),
      zeros: one(8),
      w: stridedView(engine, w),
      groupOf: engine.create([8], 'u32', 'g', { zero: true }),
      firstColumn: 0,
      codes,
      error: stridedView(engine, w),
    });
    expect(Array.from(await engine.read(codes.tensor))).toEqual([6, 6, 8, 8, 10, 10, 15, 0]);
    await engine.dispose();
  });
});
