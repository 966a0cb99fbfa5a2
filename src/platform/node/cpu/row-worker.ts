/** Entry of a worker thread: runs row kernels on shared memory, one message in, one message out. */
import { parentPort } from 'node:worker_threads';
import { runRowKernel } from '../../../cpu/row-kernels.js';
import type { RowKernelArgs, RowKernelName } from '../../../cpu/row-kernels.js';
import { RowScratch } from '../../../cpu/row-scratch.js';

export interface RowWorkerTask {
  readonly name: RowKernelName;
  /** Row operands live in shared memory; everything else came as a copy. */
  readonly args: RowKernelArgs<RowKernelName>;
}

/** What the worker answers: undefined when done, else the error. */
export interface RowWorkerAnswer {
  readonly error: unknown;
}

const scratch = new RowScratch();

parentPort?.on('message', (task: RowWorkerTask) => {
  const answer: { error: unknown } = { error: undefined };
  try {
    runRowKernel(task.name, task.args, scratch);
  } catch (error) {
    answer.error = error;
  }
  parentPort?.postMessage(answer);
});
