import { Bug } from '../core/errors.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import type { AffineWeight } from '../engine/quant.js';
import type { Tensor } from '../engine/tensor.js';
import type { QuantizedLinear } from './records.js';

/** Copies a quantized weight to the host. `groupSize` as in QuantSpec: −1 for one group per output channel. */
export async function readQuantizedLinear(
  engine: Engine,
  weight: AffineWeight,
  groupSize: number,
): Promise<QuantizedLinear> {
  const { outFeatures, inFeatures, bits } = weight;
  return {
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
