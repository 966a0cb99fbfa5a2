import { product, roundUp } from '../core/dims.js';
import { Bug } from '../core/errors.js';
import { TENSOR_DTYPE_BYTES, type Tensor, type TensorDType } from '../engine/tensor.js';
import type { PooledBuffer } from './buffer-pool.js';

/** A tensor whose elements lie from byte 0 of one storage buffer. */
export class GpuTensor implements Tensor {
  readonly bytes: number;
  private store: PooledBuffer | undefined;

  constructor(
    readonly shape: readonly number[],
    readonly dtype: TensorDType,
    readonly label: string,
    store: PooledBuffer,
  ) {
    this.bytes = tensorBytes(shape, dtype);
    this.store = store;
  }

  /** The buffer. Bug after `release`. */
  get buffer(): PooledBuffer {
    if (this.store === undefined) throw new Bug(`internal: ${this.label} is used after it was freed`);
    return this.store;
  }

  /** Bytes to bind: whole vec4 words, which the buffer always has. */
  get boundBytes(): number {
    return roundUp(Math.max(this.bytes, 16), 16);
  }

  release(): PooledBuffer {
    const buffer = this.buffer;
    this.store = undefined;
    return buffer;
  }
}

/** The engine's own tensor behind a handle. Bug for a handle of another engine. */
export function gpuTensor(tensor: Tensor): GpuTensor {
  if (tensor instanceof GpuTensor) return tensor;
  throw new Bug(`internal: ${tensor.label} belongs to another engine`);
}

export function tensorBytes(shape: readonly number[], dtype: TensorDType): number {
  return product(shape) * TENSOR_DTYPE_BYTES[dtype];
}
