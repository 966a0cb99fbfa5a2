import { roundToF16 } from '../core/dtype.js';
import { Bug } from '../core/errors.js';
import type {
  AffineLinear,
  AffineMinLinear,
  GridSpec,
  KQuantLinear,
  KQuantType,
} from '../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../core/quantized-linear.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import type { AffineWeight } from '../engine/quant.js';
import type { Tensor } from '../engine/tensor.js';
import type { QuantizedWeight } from './records.js';

/** Copies a weight that quantizeLinear made onto `grid` to the host. */
export async function readQuantizedLinear(
  engine: Engine,
  weight: QuantizedWeight,
  grid: GridSpec,
): Promise<AffineLinear | AffineMinLinear | KQuantLinear> {
  switch (grid.rule) {
    case 'symmetric':
    case 'asymmetric':
    case 'signed':
      return readAffineLinear(engine, weight, grid.groupSize);
    case 'min':
      return readAffineMin(engine, weight, grid.groupSize);
    case 'q4_k':
    case 'q6_k':
      return readKQuant(engine, weight, grid.rule);
    default:
      return grid.rule satisfies never;
  }
}

/** The same for grids with integer zeros; `groupSize` −1 stands for one group per output channel. */
export async function readAffineLinear(
  engine: Engine,
  weight: AffineWeight,
  groupSize: number,
): Promise<AffineLinear> {
  const codes = await readCodes(engine, weight, groupSize);
  return { kind: 'affine', ...codes, zeros: Uint8Array.from(await readReals(engine, weight.zeros)) };
}

/** min = −scale·zero is a float16 value; a zero that went through float32 still tells which. */
async function readAffineMin(
  engine: Engine,
  weight: AffineWeight,
  groupSize: number,
): Promise<AffineMinLinear> {
  const codes = await readCodes(engine, weight, groupSize);
  const zeros = await readReals(engine, weight.zeros);
  const mins = codes.scales.map((scale, i) => roundToF16(-scale * zeros[i]));
  return { kind: 'affine-min', ...codes, mins };
}

async function readCodes(
  engine: Engine,
  weight: AffineWeight,
  groupSize: number,
): Promise<Omit<AffineLinear, 'kind' | 'zeros'>> {
  const { outFeatures, inFeatures, bits } = weight;
  return {
    outFeatures,
    inFeatures,
    bits,
    groupSize: groupSize === -1 ? inFeatures : groupSize,
    codes: await readWords(engine, weight.codes),
    scales: Float32Array.from(await readReals(engine, weight.scales)),
    groupOf: await readWords(engine, weight.groupOf),
  };
}

/** The multiples are what the effective scales and minima are of d and dmin, exactly so. */
async function readKQuant(engine: Engine, weight: QuantizedWeight, type: KQuantType): Promise<KQuantLinear> {
  const { outFeatures, inFeatures, superBlocks } = weight;
  if (superBlocks === undefined) throw new Bug(`internal: a ${type} weight without its super-blocks`);
  const effective = await readReals(engine, weight.scales);
  const zeros = await readReals(engine, weight.zeros);
  const perBlock = SUPER_BLOCK / K_QUANTS[type].subBlock;
  const d = superBlocks.filter((_, i) => i % 2 === 0);
  const dmin = superBlocks.filter((_, i) => i % 2 === 1);
  const blockOf = (sub: number): number => Math.floor(sub / perBlock);
  const hasMins = type === 'q4_k';
  return {
    kind: 'k-quant',
    type,
    outFeatures,
    inFeatures,
    codes: await readWords(engine, weight.codes),
    d,
    dmin: hasMins ? dmin : new Float32Array(0),
    scales: Int8Array.from(effective, (scale, sub) => Math.round(scale / d[blockOf(sub)])),
    mins: hasMins
      ? Uint8Array.from(zeros, (zero, sub) => {
          const step = dmin[blockOf(sub)];
          return step === 0 ? 0 : Math.round((zero * effective[sub]) / step);
        })
      : new Uint8Array(0),
  };
}

async function readWords(engine: Engine, tensor: Tensor): Promise<Uint32Array> {
  const data = await engine.read(tensor);
  if (data instanceof Uint32Array) return data;
  throw new Bug(`internal: ${tensor.label} holds ${tensor.dtype}, not u32`);
}
