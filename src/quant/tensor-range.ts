import { bf16ToF32, f16ToF32 } from '../core/dtype.js';
import { Bug } from '../core/errors.js';
import type { Engine, HostArray } from '../engine/engine.js';
import { elementCount } from '../engine/tensor.js';
import type { Tensor } from '../engine/tensor.js';
import type { GroupGrid } from './fixed-grid.js';
import type { QuantSpec } from './records.js';

/** Elements read back at a time. */
const WINDOW_ELEMS = 2 ** 22;

/**
 * The min-max grid of a whole dense weight [N, K] (per-tensor granularity), the same for every row. The extremes are found on the host; the engine then
 * makes the grid of a matrix that holds nothing else, so that the rules stand in one place.
 */
export async function tensorRange(engine: Engine, weight: Tensor, spec: QuantSpec): Promise<GroupGrid> {
  const { low, high } = await extremes(engine, weight);
  const { rule, bits, minZero } = spec;
  if (rule !== 'symmetric' && rule !== 'asymmetric')
    throw new Bug(`internal: ${rule} has no per-tensor grid`);
  const w = engine.upload(Float32Array.of(low, high, 0, 0), [1, 4], 'f32', 'extremes');
  const scales = engine.create([1, 1], 'f32', 'tensor scale');
  const zeros = engine.create([1, 1], 'f32', 'tensor zero');
  try {
    const view = { tensor: w, rows: 1, cols: 4, offset: 0, stride: 4 };
    engine.groupRange({
      ...{ w: view, bits, groupSize: 4, rule, range: 'minmax', minZero, scales, zeros, firstGroup: 0 },
    });
    const [scale] = await engine.read(scales);
    const [zero] = await engine.read(zeros);
    const rows = weight.shape[0];
    return { scales: new Float32Array(rows).fill(scale), zeros: new Float32Array(rows).fill(zero) };
  } finally {
    engine.free(w, scales, zeros);
  }
}

async function extremes(engine: Engine, weight: Tensor): Promise<{ low: number; high: number }> {
  const total = elementCount(weight);
  let low = 0;
  let high = 0;
  for (let start = 0; start < total; start += WINDOW_ELEMS) {
    const data = await engine.read(weight, start, Math.min(WINDOW_ELEMS, total - start));
    const valueOf = reading(weight, data);
    for (let i = 0; i < data.length; i++) {
      const value = valueOf(i);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return { low, high };
}

function reading({ dtype }: Tensor, data: HostArray): (index: number) => number {
  if (dtype === 'f16') return (index) => f16ToF32(data[index]);
  if (dtype === 'bf16') return (index) => bf16ToF32(data[index]);
  return (index) => data[index];
}
