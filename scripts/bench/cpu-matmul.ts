/**
 * Matrix products of the cpu engine against its matrix library called directly, best of many interleaved calls, as one
 * JSON document: GFLOP/s and the engine's share of the library's rate, for each form and size. With `--processor-time`
 * processor time is measured instead of time on the clock: with one thread that tells the same on a busy machine.
 *
 *   npx tsx scripts/bench/cpu-matmul.ts [--seconds 20] [--threads 2] [--processor-time]
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createCpuEngine } from '../../src/cpu/engine.js';
import type { LibraryProduct } from '../../src/cpu/matrix-library.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix, colRange, rowRange } from '../../src/engine/tensor.js';
import type { MatrixView } from '../../src/engine/tensor.js';
import { loadOrtMatrixLibrary } from '../../src/platform/node/cpu/ort-matrix-library.js';

interface Case {
  readonly form: 'NN' | 'NT' | 'TN';
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Operands are the middle columns of wider matrices, as in the factorisation; c is added to. */
  readonly strided: boolean;
}

const CASES: readonly Case[] = (['NN', 'NT', 'TN'] as const).flatMap((form) => [
  { form, m: 1024, k: 1024, n: 1024, strided: false },
  { form, m: 2048, k: 2048, n: 2048, strided: false },
  { form, m: 512, k: 2048, n: 4096, strided: true },
]);

interface Contest {
  readonly test: Case;
  readonly direct: () => Promise<void>;
  readonly engine: () => Promise<void>;
  directMs: number;
  engineMs: number;
}

function viewOf(engine: Engine, rows: number, cols: number, strided: boolean): MatrixView {
  const gap = strided ? 64 : 0;
  const size = [rows, cols + gap] as const;
  const data = new Float32Array(size[0] * size[1]).map((_, i) => (i % 17) / 17 - 0.5);
  return colRange(rowRange(asMatrix(engine.upload(data, size, 'f32', 'operand')), 0, rows), gap / 2, cols);
}

function contest(engine: Engine, multiply: (product: LibraryProduct) => Promise<void>, test: Case): Contest {
  const { form, m, k, n, strided } = test;
  const transA = form === 'TN';
  const transB = form === 'NT';
  const product = {
    a: new Float32Array(m * k).fill(0.25),
    b: new Float32Array(k * n).fill(0.5),
    c: new Float32Array(m * n),
    ...{ m, k, n, transA, transB },
  };
  const a = transA ? viewOf(engine, k, m, strided) : viewOf(engine, m, k, strided);
  const b = transB ? viewOf(engine, n, k, strided) : viewOf(engine, k, n, strided);
  const c = viewOf(engine, m, n, strided);
  return {
    test,
    direct: () => multiply(product),
    engine: () => {
      engine.gemm({ a, b, c, transA, transB, beta: strided ? 1 : 0 });
      return engine.sync();
    },
    directMs: Infinity,
    engineMs: Infinity,
  };
}

type Clock = () => number;

/** Milliseconds of all threads of this process. */
function processorClock(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function milliseconds(clock: Clock, work: () => Promise<void>): Promise<number> {
  const start = clock();
  await work();
  return clock() - start;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      'processor-time': { type: 'boolean', default: false },
      threads: { type: 'string', default: String(availableParallelism()) },
    },
  });
  const library = await loadOrtMatrixLibrary({ threads: Number(values.threads) });
  if (library === undefined)
    throw new Error('onnxruntime-node is not installed: npm install onnxruntime-node');
  const engine = createCpuEngine({ precision: 'f32', matrixLibrary: library });
  const contests = CASES.map((test) => contest(engine, (product) => library.multiply(product), test));
  const clock: Clock = values['processor-time'] ? processorClock : () => performance.now();
  const end = performance.now() + Number(values.seconds) * 1000;
  while (performance.now() < end)
    for (const entry of contests) {
      entry.directMs = Math.min(entry.directMs, await milliseconds(clock, entry.direct));
      entry.engineMs = Math.min(entry.engineMs, await milliseconds(clock, entry.engine));
    }
  const rate = ({ m, k, n }: Case, ms: number) => Number(((2 * m * k * n) / ms / 1e6).toFixed(1));
  const rows = contests.map(({ test, directMs, engineMs }) => ({
    ...test,
    libraryGflops: rate(test, directMs),
    engineGflops: rate(test, engineMs),
    share: Number((directMs / engineMs).toFixed(3)),
  }));
  console.log(
    JSON.stringify({ library: library.name, threads: Number(values.threads), products: rows }, null, 1),
  );
  await engine.dispose();
}

await main();
