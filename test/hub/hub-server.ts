/**
 * A server that speaks as much of the Hub's HTTP API as a download needs: /api/models/:id/revision/:rev, the paged
 * /api/models/:id/tree/:rev, and /:id/resolve/:commit/:path with HEAD, Range, ETag, X-Repo-Commit and, for LFS files, a
 * redirect to "another host" with X-Linked-Etag and X-Linked-Size. Every request is recorded; failures are scripted.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RepoFile {
  readonly content: Uint8Array;
  /** Stored through LFS: known by SHA-256 and served from the other host. */
  readonly lfs?: boolean;
}

export interface Repo {
  readonly commit: string;
  readonly branches: readonly string[];
  readonly files: Record<string, RepoFile>;
  /** When set, requests need "Bearer <token>". */
  readonly token?: string;
  /** Answer 403 even to known users. */
  readonly gated?: boolean;
}

export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface HubServer {
  readonly endpoint: string;
  readonly requests: RecordedRequest[];
  /** Statuses with which the next requests whose path contains the key are answered. */
  readonly failures: Map<string, number[]>;
  /** After how many bytes the next transfers whose path contains the key break. */
  readonly cuts: Map<string, number[]>;
  /** Answers that replace the listing. */
  listing: unknown;
  ignoreRanges: boolean;
  close(): Promise<void>;
}

const PAGE_SIZE = 3;

export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

export function gitBlobId(content: Uint8Array): string {
  return createHash('sha1').update(`blob ${content.byteLength}\0`).update(content).digest('hex');
}

export function etagOf(file: RepoFile): string {
  return file.lfs === true ? sha256(file.content) : gitBlobId(file.content);
}

export async function startHubServer(repos: Record<string, Repo>): Promise<HubServer> {
  // Two ports are two origins, so that a leaked token or a followed redirect is seen.
  const storage = createServer();
  const api = createServer();
  await Promise.all([listen(storage), listen(api)]);
  const state: HubServer = {
    endpoint: origin(api),
    requests: [],
    failures: new Map(),
    cuts: new Map(),
    listing: undefined,
    ignoreRanges: false,
    close: async () => {
      await Promise.all([storage, api].map(closeServer));
    },
  };
  api.on('request', (request: IncomingMessage, response: ServerResponse) => {
    record(state, request);
    if (!answerFailure(state, request, response))
      answer(state, repos, { request, response, storage: origin(storage) });
  });
  storage.on('request', (request: IncomingMessage, response: ServerResponse) => {
    record(state, request);
    if (answerFailure(state, request, response)) return;
    const [, , owner, name, ...rest] = decodeURIComponent(request.url ?? '').split('/');
    const file = repos[`${owner}/${name}`].files[rest.join('/')];
    sendBytes(state, request, response, file.content);
  });
  return state;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly storage: string;
}

function answer(
  state: HubServer,
  repos: Record<string, Repo>,
  { request, response, storage }: Exchange,
): void {
  const url = new URL(request.url ?? '', state.endpoint);
  const path = decodeURIComponent(url.pathname);
  const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^?]+)$/.exec(path);
  const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
  const id = api?.[1] ?? resolve?.[1] ?? '';
  const repo = repos[id];
  // Like the Hub: whoever is unknown learns nothing, not even whether the repository exists.
  const known = repo?.token === undefined || request.headers.authorization === `Bearer ${repo.token}`;
  if (repo === undefined || !known)
    return sendError(response, request.headers.authorization === undefined ? 401 : 404);
  if (repo.gated === true) return sendError(response, 403);
  const revision = api?.[3] ?? resolve?.[2] ?? '';
  if (revision !== repo.commit && !repo.branches.includes(revision)) return sendError(response, 404);
  response.setHeader('X-Repo-Commit', repo.commit);
  if (api?.[2] === 'revision') return sendJson(response, { _id: 'x', id, sha: repo.commit, private: false });
  if (api !== null) return sendListing(state, repo, url, response);
  const name = resolve?.[3] ?? '';
  const file = repo.files[name];
  if (file === undefined) return sendError(response, 404, { 'X-Error-Code': 'EntryNotFound' });
  if (file.lfs !== true) {
    response.setHeader('ETag', `"${etagOf(file)}"`);
    return sendBytes(state, request, response, file.content);
  }
  response.writeHead(302, {
    Location: `${storage}/lfs/${id}/${encodeURI(name)}`,
    'X-Linked-Etag': `"${etagOf(file)}"`,
    'X-Linked-Size': String(file.content.byteLength),
  });
  response.end();
}

function sendListing(state: HubServer, repo: Repo, url: URL, response: ServerResponse): void {
  if (state.listing !== undefined) return sendJson(response, state.listing);
  const entries: unknown[] = Object.entries(repo.files).map(([path, file]) => ({
    type: 'file',
    path,
    size: file.content.byteLength,
    oid: gitBlobId(file.content),
    ...(file.lfs === true && { lfs: { oid: etagOf(file), size: file.content.byteLength, pointerSize: 134 } }),
  }));
  entries.unshift({ type: 'directory', path: 'folder', size: 0, oid: '0'.repeat(40) });
  const start = Number(url.searchParams.get('cursor') ?? 0);
  if (start + PAGE_SIZE < entries.length) {
    url.searchParams.set('cursor', String(start + PAGE_SIZE));
    response.setHeader('Link', `<${url.href}>; rel="next"`);
  }
  sendJson(response, entries.slice(start, start + PAGE_SIZE));
}

function sendBytes(
  state: HubServer,
  request: IncomingMessage,
  response: ServerResponse,
  content: Uint8Array,
): void {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  let body = content;
  response.setHeader('Accept-Ranges', 'bytes');
  if (range !== null && !state.ignoreRanges) {
    body = content.slice(Number(range[1]), Number(range[2]) + 1);
    response.statusCode = 206;
    response.setHeader('Content-Range', `bytes ${range[1]}-${range[2]}/${content.byteLength}`);
  }
  response.setHeader('Content-Length', body.byteLength);
  const cut = takeScripted(state.cuts, request);
  if (request.method === 'HEAD') response.end();
  else if (cut === undefined) response.end(body);
  else response.write(body.slice(0, cut), () => setTimeout(() => response.destroy(), 20));
}

function answerFailure(state: HubServer, request: IncomingMessage, response: ServerResponse): boolean {
  const status = takeScripted(state.failures, request);
  if (status === undefined) return false;
  sendError(response, status);
  return true;
}

function takeScripted(script: Map<string, number[]>, request: IncomingMessage): number | undefined {
  for (const [key, values] of script) if ((request.url ?? '').includes(key)) return values.shift();
  return undefined;
}

function record(state: HubServer, request: IncomingMessage): void {
  const { authorization, range } = request.headers;
  state.requests.push({ method: request.method ?? '', path: request.url ?? '', range, authorization });
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(value));
}

function sendError(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify({ error: `scripted ${status}` }));
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

function origin(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
