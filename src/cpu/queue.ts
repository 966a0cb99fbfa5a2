/** One recorded operation; a promise makes everything recorded later wait for it. */
export type Task = () => void | Promise<void>;

/**
 * Runs operations one after another in the order they were recorded. While nothing asynchronous is under way an
 * operation runs at once; behind an asynchronous one it waits. The first failure is kept: no later operation runs, and
 * every `idle` rejects with it.
 */
export class OperationQueue {
  private readonly waiting: { readonly task: Task; readonly always: boolean }[] = [];
  private running: Promise<void> | undefined;
  private failure: { readonly error: unknown } | undefined;

  /** Records an operation. With `always` it runs even after a failure (returning memory). */
  push(task: Task, always = false): void {
    if (this.running !== undefined) {
      this.waiting.push({ task, always });
      return;
    }
    const pending = this.start(task, always);
    if (pending !== undefined) this.running = this.drain(pending);
  }

  /** True when everything recorded has run, so that host data may be used directly. */
  get empty(): boolean {
    return this.running === undefined;
  }

  get failed(): boolean {
    return this.failure !== undefined;
  }

  /** Resolves when everything recorded so far has run; rejects with the first failure. */
  async idle(): Promise<void> {
    await this.running;
    if (this.failure !== undefined) throw this.failure.error;
  }

  private start(task: Task, always: boolean): Promise<void> | undefined {
    if (this.failure !== undefined && !always) return undefined;
    try {
      const result = task();
      return result === undefined ? undefined : result.catch((error: unknown) => this.fail(error));
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  private async drain(first: Promise<void>): Promise<void> {
    await first;
    // An index instead of shift(): thousands of operations may wait.
    for (let next = 0; next < this.waiting.length; next++) {
      const { task, always } = this.waiting[next];
      const pending = this.start(task, always);
      if (pending !== undefined) await pending;
      if (next >= 1023) {
        this.waiting.splice(0, next + 1);
        next = -1;
      }
    }
    this.waiting.length = 0;
    this.running = undefined;
  }

  private fail(error: unknown): void {
    this.failure ??= { error };
  }
}
