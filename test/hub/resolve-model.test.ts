// Plan: a Hub id becomes files at one commit: the needed ones only, in the Python client's cache layout, resumed and
// verified; every refusal says what to do; nothing leaks. The server is ours and speaks the Hub's API.
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ProgressEvent } from '../../src/core/progress.js';
import { AbortError, FetchError, UserError } from '../../src/core/errors.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { resolveModel } from '../../src/hub/index.js';
import type { ResolveOptions } from '../../src/hub/index.js';
import { createHubCache } from '../../src/platform/node/files/hub-cache.js';
import { openLocalModel } from '../../src/platform/node/files/local-model.js';
import { entry, rawFile } from '../formats/safetensors-helpers.js';
import type { HubServer, Repo } from './hub-server.js';
import { etagOf, sha256, startHubServer } from './hub-server.js';

const COMMIT = 'a1'.repeat(20);
const text = (content: string) => ({ content: new TextEncoder().encode(content) });
const shard = (name: string, bytes: number) => ({
  content: rawFile(
    `{"${name}":${entry('U8', [bytes], [0, bytes])}}`,
    new Uint8Array(bytes).fill(name.charCodeAt(0)),
  ),
  lfs: true,
});
const SHARD_1 = shard('a', 300_000);
const FILES = {
  '.gitattributes': text('x'),
  'README.md': text('card'),
  'config.json': text('{"model_type":"llama"}'),
  'tokenizer.json': { ...text('{"model":{}}'), lfs: true },
  'generation_config.json': text('{}'),
  'empty.txt': text(''),
  'additional_chat_templates/tool use.jinja': text('{{ x }}'),
  'model.safetensors.index.json': text(
    '{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}',
  ),
  'model-00001-of-00002.safetensors': SHARD_1,
  'model-00002-of-00002.safetensors': shard('b', 10),
  'consolidated.safetensors': shard('a', 10),
  'pytorch_model.bin': shard('a', 10),
  'pytorch_model.bin.index.json': text('{}'),
  'model-q4.gguf': shard('a', 10),
  'onnx/model.onnx': shard('a', 10),
  'onnx/config.json': text('{}'),
};
const NEEDED = [
  'README.md',
  'additional_chat_templates/tool use.jinja',
  'config.json',
  'generation_config.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
  'model.safetensors.index.json',
  'tokenizer.json',
];
const REPO: Repo = { commit: COMMIT, branches: ['main', 'refs/pr/1'], files: FILES };

let root: string;
let server: HubServer;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'halfbyte-hub-'));
  server = await startHubServer({
    'tiny/llama': REPO,
    'tiny/private': { ...REPO, token: 'secret' },
    'tiny/gated': { ...REPO, gated: true },
  });
});
afterEach(async () => {
  await server.close();
  rmSync(root, { recursive: true, force: true });
});

const resolve = (ref: string, options: Partial<ResolveOptions> = {}) =>
  resolveModel(ref, {
    openLocal: openLocalModel,
    cache: createHubCache(root),
    endpoint: server.endpoint,
    retry: { firstDelayMs: 1 },
    ...options,
  });

async function failure(task: Promise<unknown>): Promise<FetchError> {
  const error: unknown = await task.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(FetchError);
  return error as FetchError;
}

const requestsFor = (part: string) => server.requests.filter((request) => request.path.includes(part));
const blobPath = (etag: string) => join(root, 'models--tiny--llama', 'blobs', etag);

describe('resolveModel on the Hub', () => {
  it('fetches the needed files into the layout of the Python client', async () => {
    const model = await resolve('tiny/llama');
    expect(model).toMatchObject({ name: 'tiny/llama', source: 'hub', revision: COMMIT });
    expect([...model.files.keys()].sort()).toEqual(NEEDED);
    const repo = join(root, 'models--tiny--llama');
    expect(readFileSync(join(repo, 'refs', 'main'), 'utf8')).toBe(COMMIT);
    for (const name of NEEDED) {
      const file = FILES[name as keyof typeof FILES];
      const pointer = join(repo, 'snapshots', COMMIT, name);
      expect(lstatSync(pointer).isSymbolicLink()).toBe(true);
      expect(readlinkSync(pointer)).toBe(`${name.includes('/') ? '../' : ''}../../blobs/${etagOf(file)}`);
      expect(readFileSync(pointer).equals(file.content)).toBe(true);
    }
    expect(readdirSync(join(repo, 'blobs')).filter((name) => name.includes('incomplete'))).toEqual([]);
    const checkpoint = await openCheckpoint(model.files);
    expect(await checkpoint.read('b')).toEqual(new Uint8Array(10).fill(0x62));
  });

  it('downloads nothing twice, and sees a new commit', async () => {
    await resolve('tiny/llama');
    server.requests.length = 0;
    await resolve('tiny/llama@refs/pr/1');
    expect(requestsFor('/resolve/')).toEqual([]);
    expect(readFileSync(join(root, 'models--tiny--llama/refs/refs/pr/1'), 'utf8')).toBe(COMMIT);
    await resolve(`tiny/llama@${COMMIT}`);
    expect(requestsFor('/resolve/')).toEqual([]);
  });

  it('reads over byte ranges where there is no cache', async () => {
    const model = await resolve('tiny/llama', { cache: undefined });
    const checkpoint = await openCheckpoint(model.files);
    server.requests.length = 0;
    expect(await checkpoint.readRange('a', { offset: 299_990, length: 10 })).toEqual(
      new Uint8Array(10).fill(0x61),
    );
    const end = SHARD_1.content.byteLength;
    expect(requestsFor('/lfs/').map((r) => r.range)).toEqual([`bytes=${end - 10}-${end - 1}`]);
  });

  it('tells progress up to the sum of the sizes', async () => {
    const events: ProgressEvent[] = [];
    await resolve('tiny/llama', { onProgress: (event) => events.push(event) });
    const last = events[events.length - 1];
    const total = NEEDED.reduce((sum, name) => sum + FILES[name as keyof typeof FILES].content.byteLength, 0);
    expect(last).toMatchObject({ stage: 'download', done: total, total });
    for (const event of events) expect(event.done).toBeLessThanOrEqual(event.total);
  });

  it('sends the token to the Hub and to nobody else', async () => {
    const model = await resolve('tiny/private', { token: 'secret' });
    expect(model.files.size).toBe(NEEDED.length);
    expect(requestsFor('/lfs/').length).toBeGreaterThan(0);
    for (const request of requestsFor('/lfs/')) expect(request.authorization).toBeUndefined();
    for (const request of requestsFor('/resolve/')) expect(request.authorization).toBe('Bearer secret');
  });
});

describe('a bad line', () => {
  it('repeats what may pass: 500, 503, 429', async () => {
    server.failures.set('/api/', [500]);
    server.failures.set('/resolve/', [503]);
    server.failures.set('/lfs/', [429, 500]);
    expect((await resolve('tiny/llama')).files.size).toBe(NEEDED.length);
  });

  it('gives up after five attempts and says so', async () => {
    server.failures.set('/tree/', [500, 500, 500, 500, 500]);
    const error = await failure(resolve('tiny/llama'));
    expect(error).toMatchObject({ status: 500, retryable: true });
    expect(requestsFor('/tree/').length).toBe(5);
  });

  it('continues a broken transfer where it stopped, within a run', async () => {
    server.cuts.set('model-00001', [100_000, 50_000]);
    await resolve('tiny/llama');
    const ranges = requestsFor('/lfs/tiny/llama/model-00001').map((request) => request.range);
    expect(ranges.length).toBe(3);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[2]).toBe(`bytes=150000-${SHARD_1.content.byteLength - 1}`);
  });

  it('continues in the next run, and after a kill', async () => {
    server.cuts.set('model-00001', [100_000]);
    server.failures.set('model-00001', []);
    await failure(resolve('tiny/llama', { retry: { attempts: 1 } }));
    expect(existsSync(blobPath(sha256(SHARD_1.content)))).toBe(false);
    server.requests.length = 0;
    await resolve('tiny/llama');
    expect(requestsFor('/lfs/tiny/llama/model-00001').map((request) => request.range)).toEqual([
      `bytes=100000-${SHARD_1.content.byteLength - 1}`,
    ]);
  });

  it('takes over the part of a dead process, and starts anew when it is damaged', async () => {
    const dead = spawn(process.execPath, ['-e', '']);
    await once(dead, 'exit');
    const { partialName } = await import('../../src/platform/node/files/partial-name.js');
    const [host] = /[0-9a-f]{6}/.exec(partialName('x', 'partial').slice('.x.partial-'.length)) ?? [''];
    const blob = blobPath(sha256(SHARD_1.content));
    mkdirSync(join(blob, '..'), { recursive: true });
    writeFileSync(`${blob}.${host}-${dead.pid ?? 0}-00000000.incomplete`, new Uint8Array(1000).fill(0xee));
    await resolve('tiny/llama');
    const ranges = requestsFor('/lfs/tiny/llama/model-00001').map((request) => request.range);
    expect(ranges).toEqual([`bytes=1000-${SHARD_1.content.byteLength - 1}`, undefined]);
    expect(readFileSync(blob).equals(SHARD_1.content)).toBe(true);
  });

  it('survives two at once', async () => {
    const models = await Promise.all([resolve('tiny/llama'), resolve('tiny/llama')]);
    for (const model of models)
      expect(await (await openCheckpoint(model.files)).read('a')).toHaveLength(300_000);
    expect(
      readdirSync(join(root, 'models--tiny--llama/blobs')).filter((n) => n.includes('incomplete')),
    ).toEqual([]);
  });

  it('falls back to the cached commit when nobody answers, and says so', async () => {
    await resolve('tiny/llama');
    await server.close();
    const notices: string[] = [];
    const offline = { retry: { attempts: 1 }, onNotice: (message: string) => notices.push(message) };
    const model = await resolve('tiny/llama', offline);
    expect([...model.files.keys()].sort()).toEqual(NEEDED);
    expect(notices[0]).toContain(`using the cached copy of tiny/llama, commit ${COMMIT}`);
    const error = await failure(resolve('tiny/other', offline));
    expect(error).toMatchObject({ status: undefined, retryable: true });
    expect(error.message).toContain('no answer');
  });

  it('stops at an abort', async () => {
    const controller = new AbortController();
    const running = resolve('tiny/llama', {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(running).rejects.toThrow(AbortError);
  });
});

describe('refusals', () => {
  it.each([
    ['tiny/absent', {}, 401, /check the name, and set HF_TOKEN/],
    ['tiny/absent', { token: 'x' }, 404, /check the name/],
    ['tiny/private', {}, 401, /HF_TOKEN/],
    ['tiny/gated', { token: 'x' }, 403, /accept the licence at http.*tiny\/gated/],
    ['tiny/llama@nobranch', {}, 404, /revision after "@"/],
  ])('%s with %j', async (ref, options, status, advice) => {
    const error = await failure(resolve(ref, options));
    expect(error.status).toBe(status);
    expect(error.advice).toMatch(advice);
    expect(error.message).toContain(ref.split('@')[0]);
    expect(readdirSync(root)).toEqual([]);
  });

  it.each([
    'nofolder',
    './absent/model',
    '/absent',
    'a/b/c',
    'owner/..',
    '../x',
    'o/n@../../x',
    'a--b/c',
    '-a/b',
  ])('%j is neither path nor id', async (ref) => {
    await expect(resolve(ref)).rejects.toThrow(UserError);
    expect(server.requests).toEqual([]);
  });

  it.each([
    [[{ type: 'file', path: '../../evil.json', size: 1, oid: 'b'.repeat(40) }], /leaves the folder/],
    [[{ type: 'file', path: 'config.json', size: -1, oid: 'b'.repeat(40) }], /no size/],
    [[{ type: 'file', path: 'config.json', size: 1, oid: '../../../x' }], /no content id/],
  ])('a listing not to be trusted: %j', async (listing, message) => {
    server.listing = listing;
    expect((await failure(resolve('tiny/llama'))).message).toMatch(message);
  });

  it('content that is not what the listing promised', async () => {
    const file = {
      type: 'file',
      path: 'config.json',
      size: FILES['config.json'].content.byteLength,
      oid: 'b'.repeat(40),
    };
    server.listing = [file];
    const error = await failure(resolve('tiny/llama'));
    expect(error.message).toContain(`git blob id ${'b'.repeat(40)} expected`);
    expect(readdirSync(join(root, 'models--tiny--llama/blobs'))).toEqual([]);
  });

  it('a server that ignores ranges', async () => {
    const model = await resolve('tiny/llama', { cache: undefined });
    server.ignoreRanges = true;
    const error = await failure(openCheckpoint(model.files));
    expect(error.message).toMatch(/bytes 0 to \d+ asked for, the server answered 200/);
    expect(error.retryable).toBe(false);
  });

  it('an endpoint that is something else', async () => {
    server.listing = 'hello';
    expect((await failure(resolve('tiny/llama'))).advice).toContain('HF_ENDPOINT');
  });

  it('an index that cannot be read', async () => {
    await server.close();
    server = await startHubServer({
      'tiny/llama': { ...REPO, files: { ...FILES, 'model.safetensors.index.json': text('{') } },
    });
    await expect(resolve('tiny/llama')).rejects.toThrow('model.safetensors.index.json: not valid JSON');
  });
});

describe('resolveModel on disk', () => {
  const write = (name: string, content: string) => {
    mkdirSync(join(root, 'm', name, '..'), { recursive: true });
    writeFileSync(join(root, 'm', name), content);
  };

  it('opens a folder with the sub-folders that belong to models, and nothing hidden', async () => {
    for (const name of [
      'config.json',
      'x.safetensors',
      '.hidden',
      'onnx/a.onnx',
      'other/b.json',
      'additional_chat_templates/t.jinja',
    ])
      write(name, name);
    const model = await resolve(join(root, 'm'));
    expect(model.source).toBe('local');
    expect(model.revision).toBeUndefined();
    expect([...model.files.keys()]).toEqual([
      'config.json',
      'x.safetensors',
      'additional_chat_templates/t.jinja',
      'onnx/a.onnx',
    ]);
    expect(server.requests).toEqual([]);
  });

  it('opens one file beside its config, and no other weights', async () => {
    const parts = ['p-00001-of-00002.gguf', 'p-00002-of-00002.gguf'];
    for (const name of [
      ...['config.json', 'x.safetensors', 'y.safetensors', 'model.safetensors.index.json', 'q.gguf'],
      ...parts,
    ])
      write(name, name);
    const model = await resolve(join(root, 'm', 'x.safetensors'));
    expect([...model.files.keys()]).toEqual(['config.json', 'x.safetensors']);
    const split = await resolve(join(root, 'm', parts[1]));
    expect([...split.files.keys()]).toEqual(['config.json', ...parts]);
    await expect(resolve(join(root, 'm', 'config.json'))).rejects.toThrow(
      'a folder, a .safetensors or a .gguf file expected',
    );
  });

  it('opens a snapshot of the cache as a folder', async () => {
    await resolve('tiny/llama');
    const model = await resolve(join(root, 'models--tiny--llama', 'snapshots', COMMIT));
    expect((await openCheckpoint(model.files)).tensors.size).toBe(2);
  });
});
