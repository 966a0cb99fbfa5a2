/** hub/: a reference to a model → its files as byte sources, pinned to a commit. Platform-free: disk is passed in. */
export type { Fetch } from '../io/http-source.js';
export { DEFAULT_ENDPOINT } from './hub-client.js';
export type { ModelCache, RemoteFile, SnapshotPlace, StoreRequest } from './model-cache.js';
export { parseHubRef } from './model-ref.js';
export type { ResolveOptions, ResolvedModel } from './resolve-model.js';
export { resolveModel } from './resolve-model.js';
