import { AbortError, FetchError, UserError } from '../core/errors.js';
import type { NoticeListener, ProgressListener } from '../core/progress.js';
import type { ByteSource } from '../io/byte-source.js';
import { createHttpSource } from '../io/http-source.js';
import { readText } from '../io/json.js';
import { streamHttpResumed } from '../io/resumed-stream.js';
import type { RetryPolicy } from '../io/retry.js';
import { withRetry } from '../io/retry.js';
import type { HubClient, HubClientOptions } from './hub-client.js';
import { createHubClient } from './hub-client.js';
import type { ModelCache, RemoteFile, SnapshotPlace } from './model-cache.js';
import type { HubRef } from './model-ref.js';
import { parseHubRef } from './model-ref.js';
import { INDEX_FILE, chooseSideFiles, chooseWeightFiles } from './needed-files.js';

/** A model's files, wherever they come from, by names relative to its folder. */
export interface ResolvedModel {
  /** The path or "owner/name", for people. */
  readonly name: string;
  readonly source: 'local' | 'hub';
  /** Commit of the Hub repository; undefined for local files. */
  readonly revision?: string;
  readonly files: ReadonlyMap<string, ByteSource>;
}

export interface ResolveOptions {
  /** The files of a local folder, or of the folder around a .safetensors file; undefined when there is no such path. */
  readonly openLocal: (path: string) => Promise<ReadonlyMap<string, ByteSource> | undefined>;
  /** Where downloads are kept. Without one, files stay on the Hub and are read by byte ranges. */
  readonly cache?: ModelCache | undefined;
  /** Base URL of the Hub; huggingface.co by default. */
  readonly endpoint?: string | undefined;
  readonly token?: string | undefined;
  readonly fetch?: HubClientOptions['fetch'];
  readonly retry?: RetryPolicy | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly onNotice?: NoticeListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Files fetched at the same time: enough to fill a line whose server limits each connection. */
const PARALLEL_DOWNLOADS = 3;

/**
 * MODEL of the command line → its files: a folder, a .safetensors file beside its config, or a Hub id
 * "owner/name[@revision]", of which only the needed files are fetched, at one pinned commit.
 * UserError when it is neither; FetchError when the Hub refuses or cannot be reached and the cache has no copy.
 */
export async function resolveModel(ref: string, options: ResolveOptions): Promise<ResolvedModel> {
  const local = await options.openLocal(ref);
  if (local !== undefined) return { name: ref, source: 'local', files: local };
  const hubRef = parseHubRef(ref);
  if (hubRef === undefined) {
    throw new UserError(`${ref}: no such file or folder, and not a Hub id`, {
      advice: 'MODEL is a folder, a .safetensors file beside its config.json, or owner/name[@revision]',
    });
  }
  const client = createHubClient(options);
  const pinned = await pinCommit(client, hubRef, options);
  const place = { id: hubRef.id, commit: pinned.commit };
  const files = pinned.offline ?? (await fetchFiles(client, place, options));
  return { name: hubRef.id, source: 'hub', revision: place.commit, files };
}

interface Pinned {
  readonly commit: string;
  /** The cached files, when the Hub gave no answer. */
  readonly offline?: ReadonlyMap<string, ByteSource>;
}

/** Asks the Hub which commit is meant; when it does not answer at all, what the cache knew last must do. */
async function pinCommit(client: HubClient, ref: HubRef, options: ResolveOptions): Promise<Pinned> {
  const { cache } = options;
  try {
    const commit = await client.resolveCommit(ref);
    if (commit !== ref.revision) await cache?.writeRef(ref.id, ref.revision, commit);
    return { commit };
  } catch (error) {
    if (!(error instanceof FetchError) || error.status !== undefined || !error.retryable) throw error;
    const isCommit = /^[0-9a-f]{40}$/.test(ref.revision);
    const commit = isCommit ? ref.revision : await cache?.readRef(ref.id, ref.revision);
    const offline = commit === undefined ? undefined : await cache?.list({ id: ref.id, commit });
    if (commit === undefined || offline === undefined || offline.size === 0) throw error;
    options.onNotice?.(`${error.message}; using the cached copy of ${ref.id}, commit ${commit}`);
    return { commit, offline };
  }
}

async function fetchFiles(
  client: HubClient,
  place: SnapshotPlace,
  options: ResolveOptions,
): Promise<ReadonlyMap<string, ByteSource>> {
  const listing = new Map((await client.listFiles(place)).map((file) => [file.path, file]));
  const paths = [...listing.keys()];
  const fetcher = createFetcher(client, place, options);
  const readIndex = async (): Promise<string> => {
    const [index] = await fetcher(pick(listing, [INDEX_FILE]));
    return readText(index[1], options.signal);
  };
  const weights = await chooseWeightFiles(paths, readIndex);
  return new Map(await fetcher(pick(listing, [...chooseSideFiles(paths), ...weights])));
}

function pick(listing: ReadonlyMap<string, RemoteFile>, paths: readonly string[]): RemoteFile[] {
  return [...new Set(paths)].flatMap((path) => listing.get(path) ?? []);
}

type Fetcher = (files: readonly RemoteFile[]) => Promise<[string, ByteSource][]>;

/** Files → sources: from the cache, downloaded into it, or (without one) read over HTTP in place. */
function createFetcher(client: HubClient, place: SnapshotPlace, options: ResolveOptions): Fetcher {
  const { cache } = options;
  const policy = { ...options.retry, signal: options.signal };
  if (cache === undefined) {
    return (files) =>
      Promise.resolve(
        files.map((file) => [file.path, withRetry(createHttpSource(client.locate(place, file)), policy)]),
      );
  }
  return async (files) => {
    const progress = trackBytes(files, options.onProgress);
    return mapParallel(files, options.signal, async (file, signal) => {
      const found = await cache.find(place, file);
      const source =
        found ??
        (await cache.store({
          place,
          file,
          download: (from) => {
            const range = { offset: from, length: file.size - from };
            return streamHttpResumed(client.locate(place, file), range, { ...policy, signal });
          },
          onBytes: (done) => progress(file, done),
        }));
      progress(file, file.size);
      return [file.path, source];
    });
  };
}

/** Adds up what is there of each file; tells the listener when a file ends or another hundredth has arrived. */
function trackBytes(
  files: readonly RemoteFile[],
  onProgress: ProgressListener | undefined,
): (file: RemoteFile, done: number) => void {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const doneOf = new Map<string, number>();
  let done = 0;
  let told = 0;
  return (file, fileDone) => {
    done += fileDone - (doneOf.get(file.path) ?? 0);
    doneOf.set(file.path, fileDone);
    if (fileDone < file.size && done - told < total / 100) return;
    told = done;
    onProgress?.({ stage: 'download', item: file.path, done, total });
  };
}

/** Runs `task` on every item, a few at a time, in order; the first failure stops the others and is thrown. */
async function mapParallel<A, B>(
  items: readonly A[],
  signal: AbortSignal | undefined,
  task: (item: A, signal: AbortSignal) => Promise<B>,
): Promise<B[]> {
  const stop = new AbortController();
  const combined = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const results: B[] = [];
  let next = 0;
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const index = next++;
      try {
        results[index] = await task(items[index], combined);
      } catch (error) {
        failures.push(error);
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_DOWNLOADS }, worker));
  if (failures.length > 0) {
    // Workers stopped by the first failure report an interruption that nobody asked for.
    throw failures.find((error) => !(error instanceof AbortError)) ?? failures[0];
  }
  return results;
}
