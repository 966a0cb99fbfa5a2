/**
 * The two questions asked of the Hub, through its client library: which commit is a revision, and which files has it.
 * Bytes are fetched by io/http-source from the resolve URL, since the library's downloader neither resumes, nor checks
 * sizes and digests, nor keeps the status of a failure (hub 2.17, WebBlob.stream and download-file-to-cache-dir).
 */
import type { ListFileEntry } from '@huggingface/hub';
import { HubApiError, listFiles, modelInfo } from '@huggingface/hub';
import { AbortError, FetchError, HalfbyteError } from '../core/errors.js';
import type { Fetch, HttpFile } from '../io/http-source.js';
import { fetchResponse, isRetryableStatus } from '../io/http-source.js';
import { listOffenders } from '../io/list-offenders.js';
import { relativeNameProblem } from '../io/relative-name.js';
import type { RetryPolicy } from '../io/retry.js';
import { retry } from '../io/retry.js';
import type { RemoteFile, SnapshotPlace } from './model-cache.js';
import type { HubRef } from './model-ref.js';

export const DEFAULT_ENDPOINT = 'https://huggingface.co';

export interface HubClientOptions {
  /** Base URL without a slash at the end. */
  readonly endpoint?: string | undefined;
  /** Sent to the endpoint's own origin only. */
  readonly token?: string | undefined;
  readonly fetch?: Fetch | undefined;
  readonly retry?: RetryPolicy | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface HubClient {
  readonly endpoint: string;
  /** The commit that a branch, tag or commit id stands for. */
  resolveCommit(ref: HubRef): Promise<string>;
  /** Every file at a commit. */
  listFiles(place: SnapshotPlace): Promise<readonly RemoteFile[]>;
  /** Where to fetch a file's bytes. */
  locate(place: SnapshotPlace, file: RemoteFile): HttpFile;
}

export function createHubClient(options: HubClientOptions): HubClient {
  const endpoint = (options.endpoint ?? DEFAULT_ENDPOINT).replace(/\/+$/, '');
  const fetch = authorizedFetch(options, endpoint);
  const context = { endpoint, hasToken: options.token !== undefined };
  const ask = <T>(ref: HubRef, task: () => Promise<T>): Promise<T> =>
    retry(
      () =>
        task().catch((error: unknown) => {
          throw explainHubError(error, { ref, ...context });
        }),
      { ...options.retry, signal: options.signal },
    );
  // The library types fetch by the DOM's overloads; it only ever calls it with a string and an init object.
  const hubFetch = fetch as typeof globalThis.fetch;

  return {
    endpoint,
    resolveCommit: (ref) =>
      ask(ref, async () => {
        const info = await modelInfo({
          name: ref.id,
          revision: ref.revision,
          additionalFields: ['sha'],
          hubUrl: endpoint,
          fetch: hubFetch,
        });
        if (/^[0-9a-f]{40}$/.test(info.sha)) return info.sha;
        throw new FetchError(`${endpoint}: commit id expected for ${ref.id}, "${info.sha}" received`, {
          retryable: false,
        });
      }),
    listFiles: ({ id, commit }) =>
      ask({ id, revision: commit }, async () => {
        const files: RemoteFile[] = [];
        const query = { repo: { type: 'model', name: id }, recursive: true, revision: commit } as const;
        for await (const entry of listFiles({ ...query, hubUrl: endpoint, fetch: hubFetch })) {
          if (entry.type !== 'file') continue;
          files.push(toRemoteFile(entry));
        }
        checkListing(files, `${endpoint}/${id}`);
        return files;
      }),
    locate: (place, file) => ({
      url: `${endpoint}/${place.id}/resolve/${place.commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
      size: file.size,
      name: `${place.id}/${file.path}`,
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        if (response.ok || isRetryableStatus(response.status)) return response;
        await response.body?.cancel();
        throw statusError(
          response.status,
          { ...context, ref: { id: place.id, revision: place.commit } },
          file.path,
        );
      },
    }),
  };
}

function toRemoteFile({ path, size, lfs, oid }: ListFileEntry): RemoteFile {
  if (lfs !== undefined) return { path, size: lfs.size, etag: lfs.oid, etagKind: 'sha256' };
  return { path, size, etag: oid ?? '', etagKind: 'git-blob' };
}

/** Adds the token for the endpoint's origin, the signal, and turns failures without response into FetchError. */
function authorizedFetch(options: HubClientOptions, endpoint: string): Fetch {
  const base: Fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
  const { origin } = new URL(endpoint);
  return (url, init = {}) => {
    const headers = new Headers(init.headers);
    if (options.token !== undefined && new URL(url).origin === origin) {
      headers.set('Authorization', `Bearer ${options.token}`);
    }
    const signal = init.signal ?? options.signal;
    return fetchResponse(base, url, { ...init, headers, ...(signal && { signal }) });
  };
}

/** A listing decides file names and sizes on this machine, so it is checked like a file header. */
function checkListing(files: readonly RemoteFile[], where: string): void {
  const problems = files.flatMap(({ path, size, etag }) => {
    const name = relativeNameProblem(path);
    if (name !== undefined) return [`"${path}" is refused: ${name}`];
    if (!Number.isSafeInteger(size) || size < 0) return [`"${path}": ${size} is no size`];
    if (!/^[0-9a-f]{40}$|^[0-9a-f]{64}$/.test(etag)) return [`"${path}": "${etag}" is no content id`];
    return [];
  });
  if (files.length === 0) problems.push('it names no files');
  if (problems.length === 0) return;
  throw new FetchError(`${where}: the file listing cannot be trusted:${listOffenders(problems)}`, {
    retryable: false,
    advice:
      'check that HF_ENDPOINT names a server that speaks the Hub API, and that the repository is not empty',
  });
}

interface HubContext {
  readonly ref: HubRef;
  readonly endpoint: string;
  readonly hasToken: boolean;
}

/** What a failure of the client library means for the person. */
function explainHubError(error: unknown, context: HubContext): Error {
  if (error instanceof HalfbyteError) return error;
  if (error instanceof HubApiError) return statusError(error.statusCode, context, undefined, error);
  if (error instanceof Error && error.name === 'AbortError')
    return new AbortError('interrupted', { cause: error });
  const reason = error instanceof Error ? error.message : String(error);
  return new FetchError(`${context.endpoint}: the answer about ${context.ref.id} cannot be read: ${reason}`, {
    cause: error,
    retryable: false,
    advice: 'check that HF_ENDPOINT names a server that speaks the Hub API',
  });
}

function statusError(status: number, context: HubContext, path?: string, cause?: unknown): FetchError {
  const { ref, endpoint, hasToken } = context;
  const what = `${endpoint}/${ref.id}@${ref.revision}${path === undefined ? '' : `, ${path}`}`;
  const details = { status, retryable: isRetryableStatus(status), cause };
  switch (status) {
    case 401:
      return new FetchError(`${what}: not found, or not open to everybody (401)`, {
        ...details,
        advice: hasToken
          ? 'check the name; if it is right, your HF_TOKEN is invalid or has expired'
          : `no such folder here, and the Hub shows it to nobody unknown: check the name, and set HF_TOKEN if it is private or gated`,
      });
    case 403:
      return new FetchError(`${what}: access refused (403)`, {
        ...details,
        advice: `accept the licence at ${endpoint}/${ref.id} with the account of your HF_TOKEN${hasToken ? '' : ', and set HF_TOKEN'}`,
      });
    case 404:
      return new FetchError(`${what}: not found (404)`, {
        ...details,
        advice: 'check the name and the revision after "@"; there is no local folder of this name either',
      });
    default:
      return new FetchError(`${what}: the server answered ${status}`, {
        ...details,
        advice: details.retryable
          ? 'the server is busy or down: try again later'
          : 'check the name and HF_ENDPOINT',
      });
  }
}
