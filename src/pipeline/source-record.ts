import { throwIfAborted } from '../core/abort.js';
import type { ProgressListener } from '../core/progress.js';
import type { Hasher } from '../export/sha256.js';
import type { ByteSource } from '../io/byte-source.js';
import { readInto } from '../io/byte-source.js';
import { DEFAULT_WINDOW_BYTES } from '../io/stream-chunks.js';
import type { SourceRecord } from '../report/run-record.js';
import type { OpenedModel } from './open-model.js';

export interface SourceRecordOptions {
  readonly opened: OpenedModel;
  readonly createHasher: () => Hasher;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** What pins the source: a Hub revision by itself; for local files the hashes of config, tokenizer, index and weights. */
export async function describeSource(options: SourceRecordOptions): Promise<SourceRecord> {
  const { model, checkpoint } = options.opened;
  if (model.revision !== undefined) return { model: model.name, revision: model.revision, sha256: {} };
  const wanted = ['config.json', 'tokenizer.json', 'model.safetensors.index.json', ...checkpoint.shards];
  const present = wanted.flatMap((name) => {
    const source = model.files.get(name);
    return source === undefined ? [] : [{ name, source }];
  });
  const total = present.reduce((sum, { source }) => sum + source.size, 0);
  const sha256: Record<string, string> = {};
  let done = 0;
  for (const { name, source } of present) {
    options.onProgress?.({ stage: 'hash', item: name, done, total });
    sha256[name] = await hashSource(source, options);
    done += source.size;
  }
  return { model: folderName(model.name), revision: null, sha256 };
}

function windowBytes({ size }: ByteSource): number {
  return Math.min(DEFAULT_WINDOW_BYTES, size);
}

async function hashSource(
  source: ByteSource,
  { createHasher, signal }: SourceRecordOptions,
): Promise<string> {
  const hasher = createHasher();
  const rooms = [new Uint8Array(windowBytes(source)), new Uint8Array(windowBytes(source))];
  const start = async (offset: number): Promise<Uint8Array> => {
    const [room] = rooms;
    rooms.reverse();
    const window = room.subarray(0, Math.min(room.byteLength, source.size - offset));
    await readInto(source, offset, window, signal);
    return window;
  };
  // The next window is read while one is hashed; a failure is met when the window's turn comes.
  let ahead = start(0);
  ahead.catch(() => undefined);
  for (let done = 0; done < source.size;) {
    const window = await ahead;
    throwIfAborted(signal);
    done += window.byteLength;
    if (done < source.size) {
      ahead = start(done);
      ahead.catch(() => undefined);
    }
    hasher.update(window);
  }
  return hasher.digest();
}

/** The last part of a path: a folder's place on somebody's machine is nobody else's business. */
function folderName(path: string): string {
  return path.split(/[\\/]/).findLast((part) => part !== '') ?? path;
}
