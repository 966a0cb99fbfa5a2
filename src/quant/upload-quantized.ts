import type { AffineLinear, AffineMinLinear, KQuantLinear } from '../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';

/**
 * Stands for a scale of 0 under a minimum that is not 0: so small that no code adds to the minimum in float32, and a power
 * of two, so that −min/scale and its way back are exact.
 */
const NO_SCALE = 2 ** -90;

/** What an engine needs to know of any grid: value = scale·(code − zero). */
interface EffectiveGrid {
  /** [N, G]. */
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
  /** [K]. */
  readonly groupOf: Uint32Array;
}

/**
 * A record as a weight on an engine, for `linear` and `dequantize`; the caller frees it. Values equal
 * core/dequantize-linear.ts but for float32's rounding of scale·(code − zero) where a grid has minima.
 */
export function uploadQuantized(
  engine: Engine,
  record: AffineLinear | AffineMinLinear | KQuantLinear,
  label: string,
): LinearWeight & { readonly kind: 'affine' } {
  const { outFeatures, inFeatures } = record;
  const bits = record.kind === 'k-quant' ? K_QUANTS[record.type].bits : record.bits;
  const { scales, zeros, groupOf } = effectiveGrid(record);
  const groups = scales.length / outFeatures;
  return {
    kind: 'affine',
    outFeatures,
    inFeatures,
    bits,
    codes: engine.upload(record.codes, [outFeatures, (inFeatures * bits) / 32], 'u32', `${label} codes`),
    scales: engine.upload(scales, [outFeatures, groups], 'f32', `${label} scales`),
    zeros: engine.upload(zeros, [outFeatures, groups], 'f32', `${label} zeros`),
    groupOf: engine.upload(groupOf, [inFeatures], 'u32', `${label} groups`),
  };
}

function effectiveGrid(record: AffineLinear | AffineMinLinear | KQuantLinear): EffectiveGrid {
  switch (record.kind) {
    case 'affine':
      return {
        scales: record.scales,
        zeros: Float32Array.from(record.zeros),
        groupOf: record.groupOf,
      };
    case 'affine-min':
      return { ...withMins(record.scales, record.mins), groupOf: record.groupOf };
    case 'k-quant':
      return kQuantGrid(record);
    default:
      return record satisfies never;
  }
}

function withMins(scales: Float32Array, mins: Float32Array): Pick<EffectiveGrid, 'scales' | 'zeros'> {
  const usable = scales.map((scale, i) => (scale === 0 && mins[i] !== 0 ? NO_SCALE : scale));
  return { scales: usable, zeros: usable.map((scale, i) => (mins[i] === 0 ? 0 : -mins[i] / scale)) };
}

function kQuantGrid({ type, inFeatures, d, dmin, scales, mins }: KQuantLinear): EffectiveGrid {
  const { subBlock } = K_QUANTS[type];
  const perBlock = SUPER_BLOCK / subBlock;
  const effective = Float32Array.from(scales, (scale, sub) => d[Math.floor(sub / perBlock)] * scale);
  const groupOf = Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / subBlock));
  if (type === 'q6_k') return { scales: effective, zeros: effective.map(() => 32), groupOf };
  const lows = Float32Array.from(mins, (min, sub) => -dmin[Math.floor(sub / perBlock)] * min);
  return { ...withMins(effective, lows), groupOf };
}
