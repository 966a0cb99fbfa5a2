import type { Engine } from '../../src/engine/engine.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { createRng } from '../../src/core/rng.js';

/** Seconds of one run of `record`, best of several after a warm-up: the best is what the machine can do undisturbed. */
export async function bestSeconds(engine: Engine, record: () => void, runs = 3): Promise<number> {
  record();
  await engine.sync();
  let best = Infinity;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    record();
    await engine.sync();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

/** Uniform values in [-scale, scale); never zeros, which some hardware multiplies faster. */
export function randomTensor(engine: Engine, shape: readonly number[], seed: number, scale = 1): Tensor {
  const rng = createRng(seed);
  const count = shape.reduce((total, dim) => total * dim, 1);
  const data = Float32Array.from({ length: count }, () => (2 * rng.next() - 1) * scale);
  return engine.upload(data, shape, 'f32', `bench ${shape.join('x')}`);
}

/** Random bf16 weights: the upper halves of random float32 values. */
export function randomBf16(count: number, seed: number, scale: number): Uint16Array {
  const rng = createRng(seed);
  const chunk = new Float32Array(1);
  const bits = new Uint32Array(chunk.buffer);
  return Uint16Array.from({ length: count }, () => {
    chunk[0] = (rng.next() + rng.next() - 1) * scale;
    return bits[0] >>> 16;
  });
}
