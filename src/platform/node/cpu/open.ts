import { availableParallelism, cpus } from 'node:os';
import { createCpuEngine } from '../../../cpu/engine.js';
import type { Engine } from '../../../engine/engine.js';
import { createWorkerRowPool } from './worker-row-pool.js';
import { loadOrtMatrixLibrary } from './ort-matrix-library.js';

export interface OpenCpuEngineOptions {
  /** f32 (default): the working engine; f64: the oracle. */
  readonly precision?: 'f32' | 'f64';
  /** An allocation beyond it is a DeviceError. */
  readonly budgetBytes?: number;
  /** Threads for matrix products and row-wise work; default one per core. */
  readonly threads?: number;
}

/**
 * Opens the cpu engine on this machine: float32 matrix products through onnxruntime where it is installed, else plain
 * loops (info.matrixLibrary says which).
 */
export async function openCpuEngine(options: OpenCpuEngineOptions = {}): Promise<Engine> {
  const { precision = 'f32', budgetBytes, threads = availableParallelism() } = options;
  const library = precision === 'f32' ? await loadOrtMatrixLibrary({ threads }) : undefined;
  return createCpuEngine({
    precision,
    adapterName: processorName(),
    ...(library === undefined ? {} : { matrixLibrary: library }),
    ...(threads > 1 ? { rowPool: createWorkerRowPool(threads - 1) } : {}),
    ...(budgetBytes === undefined ? {} : { budgetBytes }),
  });
}

/** The processor's model with its number of cores. */
function processorName(): string {
  const cores = cpus();
  const model = cores.length === 0 ? '' : cores[0].model.trim();
  return `${model === '' ? 'unknown processor' : model} (${cores.length} cores)`;
}
