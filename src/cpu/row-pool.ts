import type { RowKernelArgs, RowKernelName } from './row-kernels.js';

/**
 * Spreads row-wise kernels over worker threads. Rows are independent in every row kernel, so the result has the same
 * bits for any number of workers and for none.
 */
export interface RowPool {
  readonly workers: number;
  /**
   * Runs a kernel over all rows of its arguments. Resolves when the results are in the arguments' own memory.
   * `cost` is about the nanoseconds the kernel takes on one thread.
   *
   * @returns undefined when handing out would not pay; the caller then runs the kernel itself.
   */
  run<Name extends RowKernelName>(
    name: Name,
    args: RowKernelArgs<Name>,
    cost: number,
  ): Promise<void> | undefined;
  dispose(): Promise<void>;
}
