import { DeviceError } from '../../core/errors.js';
import type { NoticeListener } from '../../core/progress.js';
import type { Engine } from '../../engine/engine.js';
import { openCpuEngine } from './cpu/open.js';
import { openWebGpu } from './gpu/index.js';

export interface OpenEngineOptions {
  /**
   * `auto` (default): a real GPU, else the cpu engine. `cpu`; `cpu-f64`, the float64 oracle; `gpu`, any real GPU; else part
   * of an adapter's name, and only then a software adapter.
   */
  readonly device?: string;
  /** Bytes: an allocation beyond it is a DeviceError. Default: no bound. */
  readonly gpuMemory?: number;
  /** Threads of the cpu engine; default one per core. */
  readonly threads?: number;
  readonly onNotice?: NoticeListener;
}

/** Opens the engine that a `--device` name stands for. DeviceError names the adapters there are when none fits. */
export async function openEngine(options: OpenEngineOptions = {}): Promise<Engine> {
  const name = (options.device ?? 'auto').trim();
  const budget = options.gpuMemory === undefined ? {} : { budgetBytes: options.gpuMemory };
  const cpu = { ...budget, ...(options.threads === undefined ? {} : { threads: options.threads }) };
  switch (name.toLowerCase()) {
    case 'cpu':
      return openCpuEngine(cpu);
    case 'cpu-f64':
      return openCpuEngine({ ...cpu, precision: 'f64' });
    case 'auto':
    case '':
      try {
        return await openWebGpu(budget);
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error;
        options.onNotice?.(`${error.message}; computing on the cpu engine`);
        return openCpuEngine(cpu);
      }
    default:
      return openWebGpu({ ...budget, name });
  }
}
