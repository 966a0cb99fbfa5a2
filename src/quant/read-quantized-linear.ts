import { Bug } from '../core/errors.js';
import type { AffineLinear, GridSpec, QuantizedLinear } from '../core/quantized-linear.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import type { AffineWeight } from '../engine/quant.js';
import type { Tensor } from '../engine/tensor.js';

/** Copies a weight that quantizeLinear made onto `grid` to the host. */
export async function readQuantizedLinear(
  engine: Engine,
  weight: AffineWeight,
  grid: GridSpec,
): Promise<QuantizedLinear> {
  return readAffineLinear(engine, weight, grid.groupSize);
}

/** The same for grids with integer zeros; `groupSize` −1 stands for one group per output channel. */
export async function readAffineLinear(
  engine: Engine,
  weight: AffineWeight,
  groupSize: number,
): Promise<AffineLinear> {
  const { outFeatures, inFeatures, bits } = weight;
  return {
    kind: 'affine',
    outFeatures,
    inFeatures,
    bits,
    groupSize: groupSize === -1 ? inFeatures : groupSize,
    codes: await readWords(engine, weight.codes),
    scales: Float32Array.from(await readReals(engine, weight.scales)),
    zeros: Uint8Array.from(await readReals(engine, weight.zeros)),
    groupOf: await readWords(engine, weight.groupOf),
  };
}

async function readWords(engine: Engine, tensor: Tensor): Promise<Uint32Array> {
  const data = await engine.read(tensor);
  if (data instanceof Uint32Array) return data;
  throw new Bug(`internal: ${tensor.label} holds ${tensor.dtype}, not u32`);
}
