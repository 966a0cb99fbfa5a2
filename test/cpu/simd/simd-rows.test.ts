import { describe, expect, it } from 'vitest';
import { f16ToF32, f32ToBf16 } from '../../../src/core/dtype.js';
import { createRng } from '../../../src/core/rng.js';
import type { Matrix, Reals } from '../../../src/cpu/matrix.js';
import { codebookBlocks } from '../../../src/cpu/quant/codebook-blocks.js';
import { quantizeGroups } from '../../../src/cpu/quant/quantize-groups.js';
import type { QuantizeGroupsArgs } from '../../../src/cpu/quant/quantize-groups.js';
import { createSimdRows } from '../../../src/cpu/simd/simd-rows.js';
import type { SimdRows } from '../../../src/cpu/simd/simd-rows.js';
import type { Bits } from '../../../src/engine/quant.js';

// Plan: WebAssembly gives the bits of the plain loops for every float16 there is, sizes off the lanes, and views into larger
// memory; it declines what it is not made for.
function simd(): SimdRows {
  const made = createSimdRows();
  if (made === undefined) throw new Error('no WebAssembly with SIMD here');
  return made;
}

function matrix<T>(data: T, rows: number, cols: number, offset = 0, gap = 0): Matrix<T> {
  return { data, rows, cols, offset, stride: cols + gap };
}

type Weights = Pick<QuantizeGroupsArgs, 'w' | 'dtype'>;

function groupsArgs(
  weights: Weights,
  { rule, bits, groupSize }: { rule: QuantizeGroupsArgs['rule']; bits: Bits; groupSize: number },
): QuantizeGroupsArgs {
  const { rows, cols } = weights.w;
  const words = (cols * bits) / 32;
  const groups = cols / groupSize;
  return {
    ...weights,
    rule,
    bits,
    groupSize,
    minZero: 0,
    packed: matrix(new Uint32Array(rows * words), rows, words),
    scales: matrix(new Float32Array(3 + rows * (groups + 2)).fill(9), rows, groups, 3, 2),
    zeros: matrix(new Float32Array(rows * groups), rows, groups),
    nonFinite: matrix(new Uint32Array(rows).fill(5), rows, 1),
  };
}

function expectSame(weights: Weights, spec: Parameters<typeof groupsArgs>[1]): void {
  const found = groupsArgs(weights, spec);
  const wanted = groupsArgs(weights, spec);
  expect(simd().quantizeGroups(found)).toBe(true);
  quantizeGroups(wanted);
  expect(found).toEqual(wanted);
}

describe('quantizeGroups in SIMD', () => {
  it('knows every finite float16', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const finite = all.filter((bits) => Number.isFinite(f16ToF32(bits)));
    const weights = { w: matrix(finite, finite.length / 64, 64), dtype: 'f16' } as const;
    for (const rule of ['symmetric', 'asymmetric', 'signed', 'min'] as const)
      expectSame(weights, { rule, bits: 4, groupSize: 32 });
  });

  it.each([4, 8, 12, 20, 48, 80])('groups of %i', (groupSize) => {
    const rng = createRng(groupSize);
    const cols = groupSize * 8;
    const data = Uint16Array.from({ length: 7 + 5 * (cols + 3) }, () => f32ToBf16(rng.normal()));
    const weights = { w: matrix(data, 5, cols, 7, 3), dtype: 'bf16' } as const;
    for (const bits of [2, 3, 4, 5, 6, 8] as const)
      for (const rule of ['asymmetric', 'signed'] as const) expectSame(weights, { rule, bits, groupSize });
  });

  it('survives growing rows in one instance', () => {
    const rng = createRng(8);
    const rows = simd();
    for (const cols of [32, 65536, 64]) {
      const data = Float32Array.from({ length: 2 * cols }, () => rng.normal());
      const weights = { w: matrix(data, 2, cols), dtype: 'f32' } as const;
      const spec = { rule: 'signed', bits: 4, groupSize: 32 } as const;
      const [found, wanted] = [groupsArgs(weights, spec), groupsArgs(weights, spec)];
      expect(rows.quantizeGroups(found)).toBe(true);
      quantizeGroups(wanted);
      expect(found).toEqual(wanted);
    }
  });

  it('declines float64 and groups off the lanes', () => {
    const w: Matrix<Reals> = matrix(new Float64Array(64), 1, 64);
    const spec = { rule: 'signed', bits: 4, groupSize: 32 } as const;
    expect(simd().quantizeGroups(groupsArgs({ w, dtype: 'f32' }, spec))).toBe(false);
    const odd = { w: matrix(new Float32Array(96), 1, 96), dtype: 'f32' } as const;
    expect(simd().quantizeGroups(groupsArgs(odd, { ...spec, groupSize: 6 }))).toBe(false);
  });
});

describe('codebookBlocks in SIMD', () => {
  it.each(['nf4', 'fp4'] as const)('%s of every finite float16', (codebook) => {
    const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const finite = all.filter((bits) => Number.isFinite(f16ToF32(bits)));
    for (const size of [32, 64, 1024]) {
      const blocks = finite.length / size;
      const args = () => ({
        w: matrix(finite, blocks, size),
        dtype: 'f16' as const,
        codebook,
        codes: matrix(new Uint8Array((blocks * size) / 2), blocks, size / 2),
        absmax: matrix(new Float32Array(blocks), blocks, 1),
      });
      const [found, wanted] = [args(), args()];
      expect(simd().codebookBlocks(found)).toBe(true);
      codebookBlocks(wanted);
      expect(found).toEqual(wanted);
    }
  });
});
