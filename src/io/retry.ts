import { throwIfAborted } from '../core/abort.js';
import { AbortError, FetchError } from '../core/errors.js';
import type { ByteSource } from './byte-source.js';

export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attempts?: number;
  /** Wait before the second try; doubles each time. */
  readonly firstDelayMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Told before each wait. */
  readonly onRetry?: (error: FetchError, attempt: number) => void;
}

export const DEFAULT_ATTEMPTS = 5;
const DEFAULT_FIRST_DELAY_MS = 500;

/** Runs `task` again while it fails with a retryable FetchError; the last error is thrown as it is. */
export async function retry<T>(task: (attempt: number) => Promise<T>, policy: RetryPolicy = {}): Promise<T> {
  const attempts = policy.attempts ?? DEFAULT_ATTEMPTS;
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(policy.signal);
    try {
      return await task(attempt);
    } catch (error) {
      if (!(error instanceof FetchError) || !error.retryable || attempt >= attempts) throw error;
      policy.onRetry?.(error, attempt);
      await sleep(retryDelayMs(policy, attempt), policy.signal);
    }
  }
}

/** The wait after the `attempt`-th failure in a row. */
export function retryDelayMs(policy: RetryPolicy, attempt: number): number {
  return (policy.firstDelayMs ?? DEFAULT_FIRST_DELAY_MS) * 2 ** (attempt - 1);
}

/** The same source, with reads repeated by `policy`. */
export function withRetry(source: ByteSource, policy: RetryPolicy = {}): ByteSource {
  return {
    name: source.name,
    size: source.size,
    read: (offset, length, signal) =>
      retry(() => source.read(offset, length, signal), { ...policy, signal: signal ?? policy.signal }),
  };
}

/** Resolves after `ms`, or rejects with AbortError as soon as the signal fires. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new AbortError('interrupted', { cause: signal.reason }));
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(new AbortError('interrupted', { cause: signal?.reason }));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
