import { throwIfAborted } from '../../core/abort.js';
import type { ProgressListener } from '../../core/progress.js';
import type { OutputFolder } from '../../io/output-folder.js';
import type { ShardPlan } from './shard-plan.js';
import { createShardWriter } from './shard-writer.js';

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
  const writer = createShardWriter(plan, folder);
  let written = 0;
  try {
    for (const info of plan.shards.flatMap((shard) => shard.tensors)) {
      throwIfAborted(options.signal);
      const produced = produce(info.name);
      if (produced instanceof Promise) await writer.append(info.name, await produced);
      else for await (const chunk of produced) await writer.append(info.name, chunk);
      written += info.end - info.begin;
      options.onProgress?.({ stage: 'write', item: info.name, done: written, total: plan.totalBytes });
    }
    await writer.finish();
  } catch (error) {
    await Promise.allSettled([writer.abort()]);
    throw error;
  }
}
