import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import type { Tensor } from '../engine/tensor.js';

/** The tensors a weight is made of. */
export function weightTensors(weight: LinearWeight): readonly Tensor[] {
  switch (weight.kind) {
    case 'dense':
      return [weight.tensor];
    case 'affine':
      return [weight.codes, weight.scales, weight.zeros, weight.groupOf];
    case 'codebook':
      return [weight.codes, weight.absmax, weight.table];
    default:
      return weight satisfies never;
  }
}

export function freeLinearWeight(engine: Engine, weight: LinearWeight): void {
  engine.free(...weightTensors(weight));
}
