import { expect, it } from 'vitest';
import { f32ToBf16, f32ToF16 } from '../../../src/core/dtype.js';
import { createRng } from '../../../src/core/rng.js';
import type { Bits, RangeRule } from '../../../src/engine/quant.js';
import type { Engine } from '../../../src/engine/engine.js';
import { asMatrix } from '../../../src/engine/tensor.js';
import type { DenseDType, Tensor } from '../../../src/engine/tensor.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch, LAYOUTS, place } from '../placed.js';
import type { Layout } from '../placed.js';

// Plan: the one pass gives the bits of groupRange + quantizeNearest + packCodes on the same engine, for every rule, width and
// dtype, for groups of zeros, constants, ties of magnitude, outliers and tiny numbers; nothing beyond the result is written.
interface Case {
  readonly rows: number;
  readonly cols: number;
  readonly groupSize: number;
  readonly bits: Bits;
  readonly rule: RangeRule;
  readonly dtype: DenseDType;
  readonly minZero: 0 | 1;
}

const BASE: Case = {
  rows: 7,
  cols: 192,
  groupSize: 32,
  bits: 4,
  rule: 'signed',
  dtype: 'bf16',
  minZero: 0,
};
const RULES: readonly RangeRule[] = ['symmetric', 'asymmetric', 'signed', 'min'];
const CASES: readonly Case[] = [
  ...RULES.map((rule) => ({ ...BASE, rule })),
  ...RULES.map((rule) => ({ ...BASE, rule, dtype: 'f16' as const, rows: 3 })),
  ...RULES.map((rule) => ({ ...BASE, rule, dtype: 'f32' as const, groupSize: 12, cols: 96 })),
  ...([2, 3, 5, 6, 8] as const).map((bits) => ({ ...BASE, bits, groupSize: 48, cols: 96 })),
  { ...BASE, rule: 'asymmetric', minZero: 1, groupSize: 4, cols: 32 },
  { ...BASE, rule: 'symmetric', groupSize: 8, cols: 8, rows: 1 },
  { ...BASE, rule: 'symmetric', groupSize: 1024, cols: 1024, rows: 2 },
];

function weights({ rows, cols, groupSize }: Case, seed: number): Float32Array {
  const rng = createRng(seed);
  const data = Float32Array.from({ length: rows * cols }, () => rng.normal() * 0.02);
  const group = (g: number): Float32Array => data.subarray(g * groupSize, (g + 1) * groupSize);
  if (data.length < 6 * groupSize) return data;
  group(0).fill(0);
  group(1).fill(-0.375);
  group(2).set([0.25, -0.25], 1);
  group(3).set([-0.25, 0.25], 1);
  group(4).set([3e4], 2);
  group(5).forEach((value, i, all) => (all[i] = value * 2e-6));
  return data;
}

function stored(values: Float32Array, dtype: DenseDType): Float32Array | Uint16Array {
  if (dtype === 'f32') return values;
  return Uint16Array.from(values, dtype === 'f16' ? f32ToF16 : f32ToBf16);
}

interface Result {
  readonly packed: ArrayLike<number>;
  readonly scales: ArrayLike<number>;
  readonly zeros: ArrayLike<number>;
}

function outputs(engine: Engine, { rows, cols, groupSize, bits }: Case, extra: number) {
  const groups = (rows * cols) / groupSize;
  return {
    packed: engine.upload(
      new Uint32Array((rows * cols * bits) / 32 + extra).fill(77),
      [(rows * cols * bits) / 32 + extra],
      'u32',
      'packed',
    ),
    scales: engine.upload(new Float32Array(groups + extra).fill(77), [groups + extra], 'f32', 'scales'),
    zeros: engine.upload(new Float32Array(groups + extra).fill(77), [groups + extra], 'f32', 'zeros'),
    nonFinite: engine.upload(new Uint32Array(rows + extra).fill(77), [rows + extra], 'u32', 'nonFinite'),
  };
}

async function inOnePass(
  engine: Engine,
  spec: Case,
  layout: Layout,
  data: ArrayLike<number>,
): Promise<Result & { readonly nonFinite: ArrayLike<number> }> {
  const { rows, cols, dtype } = spec;
  const w = place(engine, 'w', { rows, cols, dtype, values: data, layout });
  const out = outputs(engine, spec, 5);
  engine.quantizeGroups({ ...spec, w: w.view, ...out });
  const take = async (tensor: Tensor): Promise<ArrayLike<number>> => {
    const all = await engine.read(tensor);
    expect(Array.from(all.slice(-5)), `${tensor.label} beyond the result`).toEqual([77, 77, 77, 77, 77]);
    return all.slice(0, -5);
  };
  return {
    packed: await take(out.packed),
    scales: await take(out.scales),
    zeros: await take(out.zeros),
    nonFinite: await take(out.nonFinite),
  };
}

async function inSteps(engine: Engine, spec: Case, data: ArrayLike<number>): Promise<Result> {
  const { rows, cols, dtype, bits, groupSize, rule, minZero } = spec;
  const groups = cols / groupSize;
  const source = place(engine, 'w', { rows, cols, dtype, values: data });
  const matrix = (width: number, type: 'f32' | 'u8', label: string): Tensor =>
    engine.create([rows, width], type, label);
  const w = matrix(cols, 'f32', 'values');
  engine.copy({ from: source.view, to: asMatrix(w) });
  const scales = matrix(groups, 'f32', 'scales');
  const zeros = matrix(groups, 'f32', 'zeros');
  const order = Uint32Array.from({ length: cols }, (_, k) => k);
  const groupOf = engine.upload(
    order.map((k) => Math.floor(k / groupSize)),
    [cols],
    'u32',
    'groupOf',
  );
  const codes = matrix(cols, 'u8', 'codes');
  const packed = engine.create([rows, (cols * bits) / 32], 'u32', 'packed');
  const view = asMatrix(w);
  engine.groupRange({
    w: view,
    bits,
    groupSize,
    rule,
    range: 'minmax',
    minZero,
    scales,
    zeros,
    firstGroup: 0,
  });
  engine.quantizeNearest({
    bits,
    scales,
    zeros,
    w: view,
    groupOf,
    firstColumn: 0,
    codes: asMatrix(codes),
    error: asMatrix(matrix(cols, 'f32', 'error')),
  });
  const positionOf = engine.upload(order, [cols], 'u32', 'positionOf');
  engine.packCodes({ codes, positionOf, bits, packed });
  return {
    packed: await engine.read(packed),
    scales: await engine.read(scales),
    zeros: await engine.read(zeros),
  };
}

function expectSame(found: Result, wanted: Result): void {
  for (const key of ['scales', 'zeros', 'packed'] as const)
    expect(firstMismatch(found[key], wanted[key]), `first difference of ${key}`).toBe(-1);
}

describeKernels('quantizeGroups', (pair) => {
  it.each(CASES)(
    '$rule $bits bits, [$rows, $cols] $dtype, groups of $groupSize, zeros from $minZero',
    async (spec) => {
      const data = stored(weights(spec, 40 + spec.bits), spec.dtype);
      const { engine } = pair();
      const wanted = await inSteps(engine, spec, data);
      for (const layout of LAYOUTS) {
        const found = await inOnePass(engine, spec, layout, data);
        expectSame(found, wanted);
        expect(Array.from(found.nonFinite)).toEqual(Array<number>(spec.rows).fill(0));
      }
    },
  );

  it('gives the oracle the same codes where the zero is an integer', async () => {
    for (const rule of ['symmetric', 'asymmetric', 'signed'] as const) {
      const spec = { ...BASE, rule };
      const data = stored(weights(spec, 9), spec.dtype);
      const { engine, oracle } = pair();
      const [layout] = LAYOUTS;
      const found = await inOnePass(engine, spec, layout, data);
      const wanted = await inOnePass(oracle, spec, layout, data);
      expectSame(found, wanted);
    }
  });

  it.each([
    ['f32', [NaN, Infinity]],
    ['f16', [0x7e01, 0xfc00]],
    ['bf16', [0x7fc1, 0x7f80]],
  ] as const)('tells rows of %s that are not finite, and keeps the others', async (dtype, bad) => {
    const spec = { ...BASE, dtype };
    const good = stored(weights(spec, 3), dtype);
    const data = good.slice();
    data[spec.cols * 2 + 191] = bad[0];
    data[spec.cols * 5] = bad[1];
    const { engine } = pair();
    const [, layout] = LAYOUTS;
    const found = await inOnePass(engine, spec, layout, data);
    expect(Array.from(found.nonFinite)).toEqual([0, 0, 1, 0, 0, 1, 0]);
    const wanted = await inOnePass(engine, spec, layout, good);
    const words = (spec.cols * spec.bits) / 32;
    for (const row of [0, 1, 3, 4, 6]) {
      const part = (all: ArrayLike<number>): number[] =>
        Array.from(all).slice(row * words, (row + 1) * words);
      expect(part(found.packed)).toEqual(part(wanted.packed));
    }
  });
});
