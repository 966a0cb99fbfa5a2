import { Bug } from '../../core/errors.js';
import type { ByteSink } from '../../io/byte-sink.js';
import type { OutputFolder } from '../../io/output-folder.js';
import type { TensorInfo } from './header.js';
import type { ShardPlan } from './shard-plan.js';

/** Takes the tensors of a plan in its order and writes its files. */
export interface ShardWriter {
  /** The next bytes of a tensor, little-endian and row-major; each tensor is finished before the next begins. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** Ends the last file and writes the index. */
  finish(): Promise<void>;
  /** Lets go of an open file; harmless after finish. */
  abort(): Promise<void>;
}

/** Bug naming the tensor whose bytes come out of turn, are too many or too few. The caller commits the folder. */
export function createShardWriter(plan: ShardPlan, folder: OutputFolder): ShardWriter {
  let shard = 0;
  let tensor = 0;
  let filled = 0;
  let sink: ByteSink | undefined;

  const current = (): TensorInfo | undefined => plan.shards[shard]?.tensors[tensor];

  const openShard = async (): Promise<ByteSink> => {
    if (sink !== undefined) return sink;
    sink = await folder.create(plan.shards[shard].file);
    await sink.append(plan.shards[shard].header);
    return sink;
  };

  /** Leaves a finished tensor, and its shard when it was the last one of it. */
  const leave = async (info: TensorInfo | undefined): Promise<void> => {
    if (info !== undefined && filled !== lengthOf(info)) throw lengthError(info, String(filled));
    tensor += 1;
    filled = 0;
    if (tensor < plan.shards[shard].tensors.length) return;
    await (await openShard()).seal();
    sink = undefined;
    shard += 1;
    tensor = 0;
  };

  return {
    append: async (name, bytes) => {
      for (let info = current(); info !== undefined && info.name !== name; info = current())
        await leave(info);
      const info = current();
      if (info === undefined) throw new Bug(`internal: bytes of tensor "${name}", which is not planned here`);
      filled += bytes.byteLength;
      if (filled > lengthOf(info)) throw lengthError(info, `more than ${lengthOf(info)}`);
      await (await openShard()).append(bytes);
    },
    finish: async () => {
      while (shard < plan.shards.length) await leave(current());
      if (plan.index !== undefined) await folder.writeText(plan.index.file, plan.index.text);
    },
    abort: async () => {
      await sink?.abort();
      sink = undefined;
    },
  };
}

function lengthOf(info: TensorInfo): number {
  return info.end - info.begin;
}

function lengthError(info: TensorInfo, actual: string): Bug {
  const { name, dtype, shape, file } = info;
  const planned = `${dtype} [${shape.join(', ')}] of ${lengthOf(info)} bytes`;
  return new Bug(`internal: tensor "${name}" of ${file}: planned as ${planned}, produced ${actual} bytes`);
}
