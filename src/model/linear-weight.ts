import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import type { Tensor } from '../engine/tensor.js';

/** The tensors a weight is made of. */
export function weightTensors(weight: LinearWeight): readonly Tensor[] {
  if (weight.kind === 'dense') return [weight.tensor];
  return [weight.codes, weight.scales, weight.zeros, weight.groupOf];
}

export function freeLinearWeight(engine: Engine, weight: LinearWeight): void {
  engine.free(...weightTensors(weight));
}
