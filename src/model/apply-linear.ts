import type { Engine } from '../engine/engine.js';
import type { MatrixView } from '../engine/tensor.js';
import type { LinearSlot } from './types.js';

/** out [n, N] = x [n, K]·Wᵀ + b with the slot's current weight, dense or quantized. */
export function applyLinear(engine: Engine, slot: LinearSlot, x: MatrixView, out: MatrixView): void {
  engine.linear({
    x,
    weight: slot.weight,
    out,
    ...(slot.bias === undefined ? {} : { bias: slot.bias }),
  });
}
