import { describe, expect, it } from 'vitest';
import { packCodes } from '../../src/core/code-stream.js';
import { gridOf } from '../../src/core/describe-grid.js';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { roundToF16 } from '../../src/core/dtype.js';
import { FormatError } from '../../src/core/errors.js';
import type { AffineLinear, AffineMinLinear } from '../../src/core/quantized-linear.js';
import { createRng } from '../../src/core/rng.js';
import type { MlxGrid } from '../../src/formats/mlx/mlx-config.js';
import { MLX_BITS, MLX_GROUP_SIZES } from '../../src/formats/mlx/mlx-config.js';
import type { MlxScaleDType, MlxTensors, StoredMlxLayer } from '../../src/formats/mlx/mlx-layer.js';
import {
  decodeMlxLayer,
  encodeMlxLayer,
  mlxScaleDType,
  mlxShape,
  mlxShapeProblems,
} from '../../src/formats/mlx/mlx-layer.js';
import type { StoredTensor } from '../../src/formats/stored-tensor.js';
import { bytesOf } from '../../src/io/byte-views.js';

interface Sizes extends MlxGrid {
  readonly outFeatures: number;
  readonly inFeatures: number;
}

function randomCommon({ outFeatures, inFeatures, bits, groupSize }: Sizes, seed: number) {
  const rng = createRng(seed);
  const cells = (outFeatures * inFeatures) / groupSize;
  const codes = Uint8Array.from({ length: outFeatures * inFeatures }, () => rng.int(2 ** bits));
  return {
    rng,
    cells,
    common: {
      bits,
      groupSize,
      outFeatures,
      inFeatures,
      codes: packCodes(codes, bits),
      scales: Float32Array.from({ length: cells }, () => roundToF16(0.01 + 0.1 * rng.next())),
      groupOf: Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize)),
    },
  };
}

function affine(sizes: Sizes, symmetric: boolean, seed = 1): AffineLinear {
  const { rng, cells, common } = randomCommon(sizes, seed);
  const middle = 2 ** (sizes.bits - 1);
  const zeros = Uint8Array.from({ length: cells }, () => (symmetric ? middle : rng.int(2 ** sizes.bits)));
  return { kind: 'affine', ...common, zeros };
}

function affineMin(sizes: Sizes, seed = 2): AffineMinLinear {
  const { rng, cells, common } = randomCommon(sizes, seed);
  const mins = Float32Array.from({ length: cells }, () => roundToF16(rng.normal()));
  return { kind: 'affine-min', ...common, mins };
}

function tensor(
  name: string,
  dtype: 'U32' | MlxScaleDType,
  shape: readonly number[],
  bytes: Uint8Array,
): StoredTensor {
  const info = {
    name: `p.${name}`,
    dtype,
    shape,
    file: 'model.safetensors',
    begin: 100,
    end: 100 + bytes.byteLength,
  };
  return { info, bytes };
}

function store(
  tensors: MlxTensors,
  dtype: MlxScaleDType,
  { outFeatures, inFeatures, bits, groupSize }: Sizes,
): StoredMlxLayer {
  const perGroup = [outFeatures, inFeatures / groupSize];
  return {
    weight: tensor('weight', 'U32', [outFeatures, (inFeatures * bits) / 32], bytesOf(tensors.weight)),
    scales: tensor('scales', dtype, perGroup, tensors.scales),
    biases: tensor('biases', dtype, perGroup, tensors.biases),
  };
}

const SIZES: Sizes = { outFeatures: 5, inFeatures: 192, bits: 4, groupSize: 64 };
const GRIDS = MLX_BITS.flatMap((bits) => MLX_GROUP_SIZES.map((groupSize) => [bits, groupSize] as const));

describe('an MLX layer', () => {
  it('has the words that mlx writes', () => {
    // Groups of 32: −0.8, −0.4, 0, 0.4, then 0.1 … with scale 0.08; and the mirrored row with a negative scale.
    const codes = [0, 5, 10, 15, ...Array<number>(28).fill(11), 15, 10, 5, 0, ...Array<number>(28).fill(9)];
    const scales = Float32Array.of(0.08, -0.08).map(roundToF16);
    const mins = Float32Array.of(-0.8, 0.8).map(roundToF16);
    const shape = { bits: 4, groupSize: 32, outFeatures: 2, inFeatures: 32 } as const;
    const linear = {
      kind: 'affine-min',
      ...shape,
      codes: packCodes(codes, 4),
      scales,
      mins,
      groupOf: new Uint32Array(32),
    } as const;
    const { weight } = encodeMlxLayer(linear, 'p', 'F16');
    expect(weight[0].toString(16)).toBe('bbbbfa50');
    expect(weight[4].toString(16)).toBe('999905af');
  });

  it.each(GRIDS)('returns with %i bits in groups of %i', (bits, groupSize) => {
    const sizes: Sizes = { outFeatures: 3, inFeatures: 3 * 128, bits, groupSize };
    const cases: [AffineLinear | AffineMinLinear, MlxScaleDType][] = [
      [affine(sizes, true), 'F16'],
      [affine(sizes, false), 'F32'],
      [affineMin(sizes), 'F16'],
      [affineMin(sizes), 'F32'],
    ];
    for (const [linear, dtype] of cases) {
      const tensors = encodeMlxLayer(linear, 'p', dtype);
      const back = decodeMlxLayer(store(tensors, dtype, sizes), sizes);
      expect(back).toEqual(linear);
      expect(encodeMlxLayer(back, 'p', dtype)).toEqual(tensors);
    }
  });

  it('reads back what stands in bfloat16 as real minima, of the same numbers', () => {
    const linear = { ...affine(SIZES, true), scales: new Float32Array(15).fill(0.0078125) };
    const tensors = encodeMlxLayer(linear, 'p', 'BF16');
    const back = decodeMlxLayer(store(tensors, 'BF16', SIZES), SIZES);
    expect(back.kind).toBe('affine-min');
    expect(dequantizeLinear(back)).toEqual(dequantizeLinear(linear));
    expect(encodeMlxLayer(back, 'p', 'BF16')).toEqual(tensors);
  });

  it('keeps zeros and scales of nothing', () => {
    const linear = affine(SIZES, false);
    linear.zeros.fill(0, 0, 3);
    const dull = { ...linear, scales: linear.scales.map((scale, i) => (i === 7 ? 0 : scale)) };
    dull.zeros[7] = 8;
    const tensors = encodeMlxLayer(dull, 'p', 'F32');
    expect(decodeMlxLayer(store(tensors, 'F32', SIZES), SIZES)).toEqual(dull);
  });

  it('needs float32 for products of scales and odd zeros, and never rounds', () => {
    const symmetric = gridOf(affine(SIZES, true));
    const asymmetric = gridOf(affine(SIZES, false));
    const min = gridOf(affineMin(SIZES));
    if (symmetric.kind !== 'affine' || asymmetric.kind !== 'affine' || min.kind !== 'affine-min')
      throw new Error();
    expect(mlxScaleDType(symmetric)).toBe('F16');
    expect(mlxScaleDType(asymmetric)).toBe('F32');
    expect(mlxScaleDType({ ...asymmetric, scaleDType: 'F32' })).toBeUndefined();
    expect(mlxScaleDType({ ...symmetric, scaleDType: 'F32' })).toBe('F32');
    expect(mlxScaleDType(min)).toBe('F16');
    expect(() => encodeMlxLayer(affine(SIZES, false), 'p', 'F16')).toThrow(/bias .* is no finite F16 number/);
    const fine = { ...affine(SIZES, false), scales: new Float32Array(15).fill(1 / 3) };
    fine.zeros.fill(5);
    expect(() => encodeMlxLayer(fine, 'p', 'F32')).toThrow(FormatError);
  });

  it.each<[string, (linear: AffineLinear) => AffineLinear]>([
    ['7 bits', (linear) => ({ ...linear, bits: 7 as never })],
    ['groups must be runs', (linear) => ({ ...linear, groupOf: linear.groupOf.slice().reverse() })],
    ['words of codes', (linear) => ({ ...linear, codes: linear.codes.subarray(1) })],
    ['14 scales', (linear) => ({ ...linear, scales: linear.scales.subarray(1) })],
    [
      'scale NaN',
      (linear) => ({ ...linear, scales: linear.scales.map((scale, i) => (i === 4 ? NaN : scale)) }),
    ],
    ['scale Infinity', (linear) => ({ ...linear, scales: linear.scales.map(() => Infinity) })],
    ['group indices', (linear) => ({ ...linear, groupOf: linear.groupOf.subarray(1) })],
  ])('refuses to write %s', (_, change) => {
    expect(() => encodeMlxLayer(change(affine(SIZES, true)), 'p', 'F16')).toThrow(FormatError);
  });
});

describe('stored MLX tensors', () => {
  const tensors = encodeMlxLayer(affine(SIZES, true), 'p', 'F16');
  const stored = store(tensors, 'F16', SIZES);
  const decode = (changes: Partial<StoredMlxLayer>, grid: MlxGrid = SIZES): string => {
    try {
      decodeMlxLayer({ ...stored, ...changes }, grid);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      return String(error);
    }
    return 'accepted';
  };
  const change = (
    part: StoredTensor,
    info: Partial<StoredTensor['info']>,
    bytes = part.bytes,
  ): StoredTensor => ({
    info: { ...part.info, ...info },
    bytes,
  });

  it('tell their shape', () => {
    expect(mlxShape(stored, SIZES)).toEqual({ outFeatures: 5, inFeatures: 192 });
    expect(decode({})).toBe('accepted');
  });

  it('are refused where they do not fit together', () => {
    expect(decode({}, { bits: 4, groupSize: 32 })).toContain('p.scales: shape [5,6] expected, [5, 3] found');
    expect(decode({}, { bits: 8, groupSize: 64 })).toContain('does not fit the rest');
    expect(decode({}, { bits: 5, groupSize: 64 })).toContain('in_features 153.6');
    expect(decode({ weight: change(stored.weight, { dtype: 'I32' }) })).toContain('U32 expected, I32 found');
    expect(decode({ weight: change(stored.weight, { shape: [120] }) })).toContain('out_features 0');
    expect(decode({ scales: change(stored.scales, { dtype: 'BF16' }) })).toContain('the scales are BF16');
    expect(decode({ biases: change(stored.biases, { shape: [3, 5] }) })).toContain('p.biases');
    const codes = { dtype: 'U8', shape: [5, 3] } as const;
    expect(
      decode({
        scales: change(stored.scales, codes, new Uint8Array(15)),
        biases: change(stored.biases, codes, new Uint8Array(15)),
      }),
    ).toContain('F16 or BF16 or F32 expected, U8 found');
    expect(decode({ weight: change(stored.weight, {}, stored.weight.bytes.subarray(4)) })).toContain(
      '476 found',
    );
  });

  it('are refused with the offset of a number that is none', () => {
    const bytes = stored.biases.bytes.slice();
    bytes.set([0x00, 0x7e], 6);
    expect(decode({ biases: change(stored.biases, {}, bytes) })).toContain(
      'tensor "p.biases", byte 106: element 3',
    );
  });
});

describe('mlxShapeProblems', () => {
  it('lists every reason', () => {
    expect(mlxShapeProblems({ outFeatures: 7, inFeatures: 96, bits: 3, groupSize: 32 })).toEqual([]);
    expect(mlxShapeProblems({ outFeatures: 0, inFeatures: 100, bits: 7, groupSize: 48 })).toHaveLength(4);
    expect(mlxShapeProblems({ outFeatures: 8, inFeatures: 96, bits: 4, groupSize: 64 })).toHaveLength(1);
    expect(mlxShapeProblems({ outFeatures: 8, inFeatures: 96, bits: 4, groupSize: 96 })).toHaveLength(1);
  });
});
