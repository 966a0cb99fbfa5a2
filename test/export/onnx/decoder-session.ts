import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { f16ToF32 } from '../../../src/core/dtype.js';

type Feeds = Record<string, Tensor>;

/** A decoder in onnxruntime: feeds tokens, keeps the cache, returns logits. */
export interface DecoderSession {
  /** Logits [tokens, V] of tokens that follow those of earlier calls; `restart` forgets them. */
  step(tokens: ArrayLike<number>, restart?: boolean): Promise<Float32Array>;
  release(): Promise<void>;
}

export interface CacheShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly type: 'float32' | 'float16';
}

export async function openDecoder(folder: string, file: string, cache: CacheShape): Promise<DecoderSession> {
  const session = await InferenceSession.create(join(folder, 'onnx', file), { logSeverityLevel: 3 });
  const emptyCache = (): Feeds =>
    Object.fromEntries(
      Array.from({ length: cache.layers }, (_, layer) =>
        ['key', 'value'].map((part) => {
          const data = cache.type === 'float32' ? new Float32Array(0) : new Uint16Array(0);
          const dims = [1, cache.kvHeads, 0, cache.headDim];
          return [`past_key_values.${layer}.${part}`, makeTensor(cache.type, data, dims)] as const;
        }),
      ).flat(),
    );
  let past = emptyCache();
  let length = 0;
  return {
    async step(tokens, restart = true) {
      if (restart) {
        past = emptyCache();
        length = 0;
      }
      length += tokens.length;
      const outputs: Feeds = await session.run({
        input_ids: int64(Array.from(tokens)),
        attention_mask: int64(Array.from({ length }, () => 1)),
        ...past,
      });
      past = Object.fromEntries(
        Object.entries(outputs)
          .filter(([name]) => name.startsWith('present.'))
          .map(([name, value]) => [name.replace('present', 'past_key_values'), value]),
      );
      return toFloats(outputs.logits);
    },
    release: () => session.release(),
  };
}

function int64(values: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
}

function makeTensor(type: 'float32' | 'float16', data: Float32Array | Uint16Array, dims: number[]): Tensor {
  return new Tensor(type, data as Float32Array, dims);
}

function toFloats(tensor: Tensor): Float32Array {
  if (tensor.data instanceof Float32Array) return tensor.data;
  return Float32Array.from(tensor.data as Uint16Array, f16ToF32);
}
