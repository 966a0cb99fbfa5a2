/**
 * Row-wise operations of the cpu engine on one thread and with worker threads, best of several calls, as one JSON
 * document: milliseconds and how many times faster the threads are. Shows whether threads pay on this machine.
 *
 *   npx tsx scripts/bench/cpu-rows.ts [--repeats 5]
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createRng } from '../../src/core/rng.js';
import { createCpuEngine } from '../../src/cpu/engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { createWorkerRowPool } from '../../src/platform/node/cpu/worker-row-pool.js';

const ROWS = 2048;

function random(engine: Engine, rows: number, cols: number, seed: number): Tensor {
  const rng = createRng(seed);
  const data = Float32Array.from({ length: rows * cols }, () => rng.next() - 0.5);
  return engine.upload(data, [rows, cols], 'f32', 'random');
}

/** Each operation at a model-like size, ready to run. */
function operations(engine: Engine): Record<string, () => void> {
  const w = asMatrix(random(engine, ROWS, 128, 1));
  const scales = engine.upload(new Float32Array(ROWS).fill(0.0625), [ROWS, 1], 'f32', 'scales');
  const zeros = engine.upload(new Float32Array(ROWS).fill(8), [ROWS, 1], 'f32', 'zeros');
  const groupOf = engine.create([128], 'u32', 'groups', { zero: true });
  const error = asMatrix(engine.create([ROWS, 128], 'f32', 'error'));
  const codes = asMatrix(engine.create([ROWS, 128], 'u8', 'codes'));
  const grid = { bits: 4, scales, zeros, groupOf, firstColumn: 0, w, error, codes } as const;
  const l = asMatrix(random(engine, 128, 128, 2));
  const losses = engine.create([ROWS], 'f32', 'losses');
  const wide = asMatrix(random(engine, ROWS, 5632, 3));
  const logits = asMatrix(random(engine, 256, 32000, 4));
  const targets = engine.create([256], 'u32', 'targets', { zero: true });
  const stats = engine.create([256, 4], 'f32', 'stats');
  const range = { w, bits: 4, groupSize: 128, rule: 'symmetric', minZero: 1, firstGroup: 0 } as const;
  return {
    gptqBlock: () => engine.gptqBlock({ ...grid, carried: w, l, losses }),
    quantizeNearest: () => engine.quantizeNearest(grid),
    groupRangeMse: () => engine.groupRange({ ...range, range: 'mse', scales, zeros }),
    siluMul: () => engine.siluMul({ gate: wide, up: wide, out: wide }),
    tokenDivergence: () => engine.tokenDivergence({ reference: logits, logits, targets, stats }),
  };
}

async function measure(engine: Engine, repeats: number): Promise<Record<string, number>> {
  const result: Record<string, number> = {};
  for (const [name, run] of Object.entries(operations(engine))) {
    result[name] = Infinity;
    for (let i = 0; i < repeats; i++) {
      await engine.sync();
      const start = performance.now();
      run();
      await engine.sync();
      result[name] = Math.min(result[name], performance.now() - start);
    }
  }
  return result;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { repeats: { type: 'string', default: '5' } } });
  const workers = Math.max(1, availableParallelism() - 1);
  const alone = createCpuEngine({ precision: 'f32' });
  const pooled = createCpuEngine({ precision: 'f32', rowPool: createWorkerRowPool(workers) });
  const one = await measure(alone, Number(values.repeats));
  const many = await measure(pooled, Number(values.repeats));
  const rows = Object.entries(one).map(([operation, ms]) => ({
    operation,
    oneThreadMs: Number(ms.toFixed(2)),
    withWorkersMs: Number(many[operation].toFixed(2)),
    speedup: Number((ms / many[operation]).toFixed(2)),
  }));
  console.log(JSON.stringify({ workers, operations: rows }, null, 1));
  await alone.dispose();
  await pooled.dispose();
}

await main();
