import { availableParallelism } from 'node:os';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { loadOrtMatrixLibrary } from '../../src/platform/node/cpu/ort-matrix-library.js';
import { bestSeconds, randomTensor } from './measure.js';

/** What the device can do at best, measured on it: figures of operations are shares of these. */
export interface Ceilings {
  /** Floating-point operations per second; a multiply-add counts as two. */
  readonly flops: number;
  readonly flopsFrom: string;
  /** Bytes read plus bytes written per second of a large copy. */
  readonly copyBytes: number;
}

const CHAINS = 12;
const COPY_ELEMS = 2 ** 24;
const LIBRARY_SIZE = 2048;

export async function measureCeilings(engine: Engine): Promise<Ceilings> {
  const copyBytes = await copyRate(engine);
  if (engine.info.engine === 'webgpu')
    return { flops: await chainRate(engine), flopsFrom: 'multiply-add chain', copyBytes };
  const library = await libraryRate();
  if (library !== undefined) return { ...library, copyBytes };
  return { flops: await plainRate(engine), flopsFrom: 'plain loops, 512³ product', copyBytes };
}

/** Multiply-adds in registers, enough elements to fill any GPU, rounds grown until a run takes a quarter second. */
async function chainRate(engine: Engine): Promise<number> {
  const count = engine.info.software ? 2 ** 14 : 2 ** 20;
  const x = randomTensor(engine, [count], 1);
  let rounds = 256;
  let seconds = 0;
  for (;;) {
    const current = rounds;
    seconds = await bestSeconds(engine, () => {
      engine.multiplyAddChain({ x, rounds: current });
    });
    if (seconds > 0.25) break;
    rounds *= 2;
  }
  engine.free(x);
  return (2 * CHAINS * rounds * count) / seconds;
}

async function copyRate(engine: Engine): Promise<number> {
  const from = randomTensor(engine, [COPY_ELEMS / 1024, 1024], 2);
  const to = engine.create([COPY_ELEMS / 1024, 1024], 'f32', 'copy');
  const seconds = await bestSeconds(engine, () => {
    engine.copy({ from: asMatrix(from), to: asMatrix(to) });
  });
  engine.free(from, to);
  return (2 * 4 * COPY_ELEMS) / seconds;
}

/** The matrix library itself, without the engine around it. */
async function libraryRate(): Promise<Omit<Ceilings, 'copyBytes'> | undefined> {
  const library = await loadOrtMatrixLibrary({ threads: availableParallelism() });
  if (library === undefined) return undefined;
  const size = LIBRARY_SIZE;
  const make = (): Float32Array => Float32Array.from({ length: size * size }, () => Math.random() - 0.5);
  const product = {
    a: make(),
    b: make(),
    c: make(),
    m: size,
    k: size,
    n: size,
    transA: false,
    transB: false,
  };
  let best = Infinity;
  for (let run = 0; run < 4; run++) {
    const start = performance.now();
    await library.multiply(product);
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  await library.dispose();
  return { flops: (2 * size ** 3) / best, flopsFrom: `${library.name}, ${size}³ product` };
}

async function plainRate(engine: Engine): Promise<number> {
  const size = 512;
  const [a, b, c] = [1, 2, 3].map((seed) => randomTensor(engine, [size, size], seed));
  const seconds = await bestSeconds(engine, () => {
    engine.gemm({ a: asMatrix(a), b: asMatrix(b), c: asMatrix(c) });
  });
  engine.free(a, b, c);
  return (2 * size ** 3) / seconds;
}
