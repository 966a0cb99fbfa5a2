import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { DeviceError } from '../../../core/errors.js';
import { ROW_OPERANDS, runRowKernel, STREAMING_KERNELS } from '../../../cpu/row-kernels.js';
import type { RowKernelArgs, RowKernelName } from '../../../cpu/row-kernels.js';
import type { RowPool } from '../../../cpu/row-pool.js';
import { RowScratch } from '../../../cpu/row-scratch.js';
import { collectRows, ownRows, rowOperands, sendable, sharedRows, shareBytes } from './row-share.js';
import type { RowOperands } from './row-share.js';
import type { RowWorkerAnswer, RowWorkerTask } from './row-worker.js';

/** Shared memory of one worker at most, so that logits of a large vocabulary are handed out piece by piece. */
const MAX_SHARE_BYTES = 16 * 2 ** 20;
/** Measured on 2 cores: waking a worker and hearing from it, and copying one byte there or back. */
const WAKE_NS = 150_000;
const COPY_NS_PER_BYTE = 0.3;
/** Least share of the single-thread time to be saved before threads are used; by streaming kernels, on this thread. */
const LEAST_GAIN = 0.25;

/**
 * Row-wise work on worker threads, this thread taking a share of its own; the work of streams goes to one more worker
 * instead, so that this thread is free for files. Threads start with the first work that pays.
 * Tensors are not in shared memory (the matrix library refuses it), so shares are copied there and back.
 *
 * @param workers threads besides this one; at least 1.
 */
export function createWorkerRowPool(workers: number): RowPool {
  return new WorkerRowPool(workers);
}

class WorkerRowPool implements RowPool {
  private readonly threads: RowThread[] = [];
  private readonly scratch = new RowScratch();

  constructor(readonly workers: number) {}

  run<Name extends RowKernelName>(
    name: Name,
    args: RowKernelArgs<Name>,
    cost: number,
  ): Promise<void> | undefined {
    const fields: Readonly<Record<string, unknown>> = { ...args };
    const operands = rowOperands(fields, ROW_OPERANDS[name]);
    const rows = operands[0][1].rows;
    const parts = this.workers + 1;
    if (rows < parts) return undefined;
    const overhead = WAKE_NS + shareBytes(operands, rows) * (this.workers / parts) * COPY_NS_PER_BYTE;
    const gain = STREAMING_KERNELS.has(name) ? cost - overhead : cost * (this.workers / parts) - overhead;
    if (gain < LEAST_GAIN * cost) return undefined;
    return this.spread(name, fields, operands, rows);
  }

  async dispose(): Promise<void> {
    for (const thread of this.threads.splice(0)) await thread.stop();
  }

  /** Rounds of one share for each thread, until all rows are done. */
  private async spread(
    kernel: RowKernelName,
    args: Readonly<Record<string, unknown>>,
    operands: RowOperands,
    rows: number,
  ): Promise<void> {
    const parts = this.workers + 1;
    const own = STREAMING_KERNELS.has(kernel) ? 0 : 1;
    while (this.threads.length < parts - own) this.threads.push(new RowThread());
    const threads = this.threads.slice(0, parts - own);
    const common = sendable(
      Object.fromEntries(Object.entries(args).filter(([key]) => !operands.some(([name]) => name === key))),
    );
    const fitting = Math.max(1, Math.floor(MAX_SHARE_BYTES / shareBytes(operands, 1)));
    const share = Math.min(fitting, Math.ceil(rows / parts));
    for (let round = 0; round < rows; round += share * parts) {
      const pending = threads.map((thread, i) => {
        const start = round + (i + own) * share;
        const count = Math.min(share, rows - start);
        return count > 0 ? thread.run(kernel, common, { operands, start, rows: count }) : Promise.resolve();
      });
      if (own > 0)
        this.runOwn(kernel, { ...args, ...ownRows(operands, round, Math.min(share, rows - round)) });
      await Promise.all(pending);
    }
  }

  private runOwn(kernel: RowKernelName, args: Readonly<Record<string, unknown>>): void {
    runRowKernel(kernel, args as unknown as RowKernelArgs<RowKernelName>, this.scratch);
  }
}

/** One worker thread with its shared memory; does one share at a time. */
class RowThread {
  private readonly worker = startWorker();
  private memory = new SharedArrayBuffer(0);
  /** Set when the thread is gone: a message to it would never be answered. */
  private failure: DeviceError | undefined;

  async run(
    name: RowKernelName,
    args: Readonly<Record<string, unknown>>,
    part: { readonly operands: RowOperands; readonly start: number; readonly rows: number },
  ): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const { operands, start, rows } = part;
    const bytes = shareBytes(operands, rows);
    if (this.memory.byteLength < bytes) this.memory = new SharedArrayBuffer(bytes);
    const shared = sharedRows(operands, start, rows, this.memory);
    const task = { name, args: { ...args, ...shared } } as unknown as RowWorkerTask;
    const answer = await this.ask(task);
    if (answer.error !== undefined) throw workerError(answer.error);
    collectRows(operands, start, shared);
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }

  private ask(task: RowWorkerTask): Promise<RowWorkerAnswer> {
    const { worker } = this;
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        // An idle worker must not keep the process alive.
        worker.unref();
        act();
      };
      const onMessage = (answer: RowWorkerAnswer) => settle(() => resolve(answer));
      const fail = (cause: unknown) => {
        this.failure = workerError(cause);
        reject(this.failure);
      };
      const onError = (cause: unknown) => settle(() => fail(cause));
      const onExit = (code: number) => settle(() => fail(`it ended with code ${code}`));
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
      worker.ref();
      worker.postMessage(task);
    });
  }
}

function workerError(cause: unknown): DeviceError {
  return new DeviceError(`a worker thread of the cpu engine failed: ${String(cause)}`, {
    cause,
    advice: 'run again; with one thread no workers are used',
  });
}

/**
 * The compiled worker beside this file. From TypeScript sources (tests, scripts) a line of JavaScript first registers
 * the loader in the worker: a worker does not take it from `--import`.
 */
function startWorker(): Worker {
  const here = import.meta.url;
  if (!here.endsWith('.ts')) return new Worker(new URL('./row-worker.js', here));
  const tsx = pathToFileURL(createRequire(here).resolve('tsx/package.json'));
  const loader = JSON.stringify(new URL('./dist/esm/api/index.mjs', tsx).href);
  const entry = JSON.stringify(new URL('./row-worker.ts', here).href);
  const code = `import(${loader}).then(({ register }) => { register(); return import(${entry}); })`;
  return new Worker(code, { eval: true, execArgv: [] });
}
