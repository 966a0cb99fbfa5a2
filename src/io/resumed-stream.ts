import { FetchError } from '../core/errors.js';
import type { HttpFile } from './http-source.js';
import { streamHttpRange } from './http-source.js';
import type { RetryPolicy } from './retry.js';
import { retryDelayMs, sleep, DEFAULT_ATTEMPTS } from './retry.js';

/**
 * Bytes [offset, offset + length) of `file`; when the transfer breaks it goes on where it stopped. The policy's attempts
 * are those in a row without a single byte, so a long download over a bad line ends as long as it moves.
 */
export async function* streamHttpResumed(
  file: HttpFile,
  { offset, length }: { readonly offset: number; readonly length: number },
  policy: RetryPolicy = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  let done = 0;
  let failures = 0;
  while (done < length) {
    try {
      for await (const chunk of streamHttpRange(
        file,
        { offset: offset + done, length: length - done },
        policy.signal,
      )) {
        done += chunk.byteLength;
        failures = 0;
        yield chunk;
      }
    } catch (error) {
      failures++;
      const final = failures >= (policy.attempts ?? DEFAULT_ATTEMPTS);
      if (!(error instanceof FetchError) || !error.retryable || final) throw error;
      policy.onRetry?.(error, failures);
      await sleep(retryDelayMs(policy, failures), policy.signal);
    }
  }
}
