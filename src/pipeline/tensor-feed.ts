import { Bug } from '../core/errors.js';
import type { PlannedOutput } from '../export/output-plan.js';
import { gptqTensorBytes } from '../export/gptq-tensors.js';
import type { GptqCheckpointFormat } from '../formats/gptq/gptq-layer.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import type { TensorProducer } from '../formats/safetensors/write-shards.js';
import { assertFinite } from './check-finite.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import type { FinishedLinear } from './quantized-linears.js';

export interface TensorFeedOptions {
  readonly plan: readonly PlannedOutput[];
  readonly checkpoint: Checkpoint;
  /** Yields linears in the order of the plan. */
  readonly linears: AsyncIterator<FinishedLinear, void, undefined>;
  readonly format: GptqCheckpointFormat;
  /** Told about each linear once, as it arrives. */
  readonly onLinear: (linear: FinishedLinear) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Bytes for the shard writer: copied tensors stream from the checkpoint, quantized ones are pulled out of the run when
 * their turn comes, so that the writer's pace drives the quantization. Memory: one quantized linear, one read window.
 */
export function createTensorFeed(options: TensorFeedOptions): TensorProducer {
  const origins = new Map(options.plan.map((tensor) => [tensor.name, tensor.origin]));
  const ready = new Map<string, Uint8Array>();

  const pull = async (name: string, module: string): Promise<Uint8Array> => {
    if (!ready.has(name)) {
      const next = await options.linears.next();
      if (next.done === true || next.value.name !== module)
        throw new Bug(
          `internal: linear ${module} expected next, ${next.done === true ? 'nothing' : next.value.name} came`,
        );
      options.onLinear(next.value);
      const tensors = gptqTensorBytes(module, next.value.linear, options.format);
      for (const [tensor, bytes] of tensors) ready.set(tensor, bytes);
    }
    const bytes = ready.get(name);
    if (bytes === undefined) throw new Bug(`internal: tensor ${name} is not part of ${module}`);
    ready.delete(name);
    return bytes;
  };

  return (name) => {
    const origin = origins.get(name);
    if (origin === undefined) throw new Bug(`internal: tensor ${name} is not in the plan`);
    return origin.kind === 'quantized' ? pull(name, origin.module) : copyTensor(options, name);
  };
}

async function* copyTensor(
  { checkpoint, signal }: TensorFeedOptions,
  name: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { dtype } = checkpoint.info(name);
  let firstElement = 0;
  for await (const bytes of checkpoint.stream(name, { signal })) {
    assertFinite(bytes, { tensor: name, dtype, firstElement });
    firstElement += bytes.byteLength / DTYPE_BYTES[dtype];
    yield bytes;
  }
}
