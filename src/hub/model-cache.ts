import type { ByteSource } from '../io/byte-source.js';

/** A file of a repository at one commit, as the Hub lists it. */
export interface RemoteFile {
  /** Relative to the repository, "/" as separator. */
  readonly path: string;
  readonly size: number;
  /** Hex digest that is also the blob's name in the cache: SHA-256 of the content for LFS files, else the git blob id. */
  readonly etag: string;
  readonly etagKind: 'sha256' | 'git-blob';
}

/** A repository at one commit. */
export interface SnapshotPlace {
  /** "owner/name". */
  readonly id: string;
  /** 40 hex digits. */
  readonly commit: string;
}

export interface StoreRequest {
  readonly place: SnapshotPlace;
  readonly file: RemoteFile;
  /** The bytes from `from` to the end; `from` is the length of what an earlier attempt left. */
  readonly download: (from: number) => AsyncIterable<Uint8Array>;
  /** Told the bytes now there, after each piece. */
  readonly onBytes?: (done: number) => void;
}

/**
 * Where downloads are kept, in the layout that the Python client shares
 * (models--owner--name/{blobs,refs,snapshots}); implemented by platforms that have a disk.
 */
export interface ModelCache {
  /** The commit a branch or tag pointed to when last seen. */
  readRef(id: string, revision: string): Promise<string | undefined>;
  writeRef(id: string, revision: string, commit: string): Promise<void>;
  /** Every file the snapshot holds; empty when it is unknown. */
  list(place: SnapshotPlace): Promise<ReadonlyMap<string, ByteSource>>;
  /** The file if it is there with the right size. */
  find(place: SnapshotPlace, file: RemoteFile): Promise<ByteSource | undefined>;
  /** Downloads the rest, checks size and digest, and makes the file appear; safe when others do the same. */
  store(request: StoreRequest): Promise<ByteSource>;
}
