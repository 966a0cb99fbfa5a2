import { AbortError } from './errors.js';

/** Throws AbortError when the signal has fired; call it between steps of a long job. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AbortError('interrupted', { cause: signal.reason });
}
