import { throwIfAborted } from '../core/abort.js';
import { AbortError, FetchError } from '../core/errors.js';
import type { ByteSource } from './byte-source.js';
import { checkRange } from './byte-source.js';
import { concatBytes } from './byte-views.js';

/** Like the global fetch, which is what callers pass; a wrapper may add headers, a proxy or retries. */
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export interface HttpFile {
  readonly url: string;
  /** Bytes of the whole file, known beforehand from a listing. */
  readonly size: number;
  readonly fetch: Fetch;
  /** How errors call it; by default the URL. */
  readonly name?: string;
}

/** A file on a server that honours Range requests. Reads are one request each; wrap in withReadAhead for small ones. */
export function createHttpSource(file: HttpFile): ByteSource {
  const name = file.name ?? file.url;
  return {
    name,
    size: file.size,
    async read(offset, length, signal) {
      checkRange({ name, size: file.size }, offset, length);
      if (length === 0) return new Uint8Array(0);
      const chunks: Uint8Array[] = [];
      for await (const chunk of streamHttpRange(file, { offset, length }, signal)) chunks.push(chunk);
      return concatBytes(chunks);
    },
  };
}

/**
 * Bytes [offset, offset + length) of `file` as they arrive. FetchError when the server fails, ignores the range or
 * delivers another number of bytes; a break in the middle is retryable, and what was yielded before it is good.
 */
export async function* streamHttpRange(
  file: HttpFile,
  { offset, length }: { readonly offset: number; readonly length: number },
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (length === 0) return;
  const name = file.name ?? file.url;
  const whole = offset === 0 && length === file.size;
  const headers = whole ? undefined : { Range: `bytes=${offset}-${offset + length - 1}` };
  const response = await fetchOrFail(file, { ...(headers && { headers }), ...(signal && { signal }) });
  checkRangeHonoured(response, { name, offset, length, whole });
  let received = 0;
  try {
    for await (const chunk of bodyChunks(response)) {
      received += chunk.byteLength;
      if (received > length) break;
      yield chunk;
    }
  } catch (cause) {
    throwIfAborted(signal);
    throw new FetchError(`${name}: the connection broke after ${received} of ${length} bytes`, {
      cause,
      retryable: true,
    });
  }
  if (received !== length) {
    throw new FetchError(
      `${name}: ${length} bytes expected, the server sent ${received > length ? 'more' : received}`,
      {
        retryable: received < length,
      },
    );
  }
}

async function fetchOrFail(file: HttpFile, init: RequestInit): Promise<Response> {
  const name = file.name ?? file.url;
  const response = await fetchResponse(file.fetch, file.url, init);
  if (response.ok) return response;
  await response.body?.cancel();
  throw new FetchError(`${name}: the server answered ${response.status} ${response.statusText}`.trim(), {
    status: response.status,
    retryable: isRetryableStatus(response.status),
  });
}

/** `fetch` whose failures are FetchError (no response, retryable) or AbortError; the status is the caller's to judge. */
export async function fetchResponse(fetch: Fetch, url: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (cause) {
    if (cause instanceof FetchError || cause instanceof AbortError) throw cause;
    if (init.signal?.aborted === true) throw new AbortError('interrupted', { cause });
    throw new FetchError(`${new URL(url).host}: no answer (${networkReason(cause)})`, {
      cause,
      retryable: true,
      advice: 'check the network connection and HF_ENDPOINT',
    });
  }
}

/** Time-outs, rate limits and failures of the server itself. */
export function isRetryableStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** Node says "fetch failed" and hides the reason in the cause. */
function networkReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error && error.cause.message !== '') return error.cause.message;
  return error.message;
}

interface ExpectedRange {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  readonly whole: boolean;
}

function checkRangeHonoured(response: Response, { name, offset, length, whole }: ExpectedRange): void {
  if (whole && response.status === 200) return;
  const range = /^bytes (\d+)-(\d+)\//.exec(response.headers.get('content-range') ?? '');
  const honoured = range !== null && Number(range[1]) === offset && Number(range[2]) === offset + length - 1;
  if (response.status === 206 && honoured) return;
  void response.body?.cancel();
  const got = `${response.status}, content-range ${response.headers.get('content-range') ?? 'missing'}`;
  throw new FetchError(
    `${name}: bytes ${offset} to ${offset + length - 1} asked for, the server answered ${got}`,
    {
      status: response.status,
      retryable: false,
      advice: 'the server or a proxy in between does not support Range requests, or the file changed there',
    },
  );
}

async function* bodyChunks(response: Response): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // Reached early when the consumer stops: the connection is given up instead of drained.
    await Promise.allSettled([reader.cancel()]);
  }
}
