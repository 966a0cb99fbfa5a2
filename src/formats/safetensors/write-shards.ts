import { throwIfAborted } from '../../core/abort.js';
import { Bug } from '../../core/errors.js';
import type { ProgressListener } from '../../core/progress.js';
import type { ByteSink } from '../../io/byte-sink.js';
import type { OutputFolder } from '../../io/output-folder.js';
import type { TensorInfo } from './header.js';
import type { Shard, ShardPlan } from './shard-plan.js';

/** The bytes of a tensor, whole or in chunks, little-endian and row-major. Called once per tensor, in plan order. */
export type TensorProducer = (name: string) => Promise<Uint8Array> | AsyncIterable<Uint8Array>;

export interface WriteShardsOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/**
 * Writes every file of the plan into `folder`, tensor by tensor in plan order; memory is what `produce` hands out at a
 * time. Fails naming the tensor whose bytes do not have the planned length. The caller commits the folder.
 */
export async function writeShards(
  plan: ShardPlan,
  folder: OutputFolder,
  produce: TensorProducer,
  options: WriteShardsOptions = {},
): Promise<void> {
  let written = 0;
  for (const shard of plan.shards) {
    await writeShard(shard, folder, produce, {
      ...options,
      onTensor: (info) => {
        written += info.end - info.begin;
        options.onProgress?.({ stage: 'write', item: info.name, done: written, total: plan.totalBytes });
      },
    });
  }
  if (plan.index !== undefined) await folder.writeText(plan.index.file, plan.index.text);
}

interface ShardOptions extends WriteShardsOptions {
  readonly onTensor: (info: TensorInfo) => void;
}

async function writeShard(
  shard: Shard,
  folder: OutputFolder,
  produce: TensorProducer,
  options: ShardOptions,
): Promise<void> {
  const sink = await folder.create(shard.file);
  try {
    await sink.append(shard.header);
    for (const info of shard.tensors) {
      throwIfAborted(options.signal);
      await writeTensor(info, sink, produce);
      options.onTensor(info);
    }
    await sink.seal();
  } catch (error) {
    await Promise.allSettled([sink.abort()]);
    throw error;
  }
}

async function writeTensor(info: TensorInfo, sink: ByteSink, produce: TensorProducer): Promise<void> {
  const expected = info.end - info.begin;
  const produced = produce(info.name);
  let actual = 0;
  const append = async (chunk: Uint8Array): Promise<void> => {
    actual += chunk.byteLength;
    if (actual > expected) throw lengthError(info, `more than ${expected}`);
    await sink.append(chunk);
  };
  if (produced instanceof Promise) await append(await produced);
  else for await (const chunk of produced) await append(chunk);
  if (actual !== expected) throw lengthError(info, String(actual));
}

function lengthError(info: TensorInfo, actual: string): Bug {
  const { name, dtype, shape, file, begin, end } = info;
  const planned = `${dtype} [${shape.join(', ')}] of ${end - begin} bytes`;
  return new Bug(`internal: tensor "${name}" of ${file}: planned as ${planned}, produced ${actual} bytes`);
}
