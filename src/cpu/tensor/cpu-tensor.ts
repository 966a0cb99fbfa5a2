import { Bug } from '../../core/errors.js';
import type { HostArray } from '../../engine/engine.js';
import { elementCount } from '../../engine/tensor.js';
import type { Tensor, TensorDType } from '../../engine/tensor.js';

export type Precision = 'f64' | 'f32';

/** Bytes of one element on this engine: only `f32` depends on the precision. */
export function elementBytes(dtype: TensorDType, precision: Precision): number {
  switch (dtype) {
    case 'f32':
      return precision === 'f64' ? 8 : 4;
    case 'u32':
      return 4;
    case 'f16':
    case 'bf16':
      return 2;
    case 'u8':
      return 1;
  }
}

/** `shared`: in memory that other threads can see; the matrix library refuses such. */
export function allocateHost(
  dtype: TensorDType,
  precision: Precision,
  length: number,
  shared = false,
): HostArray {
  const bytes = length * elementBytes(dtype, precision);
  const memory = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  switch (dtype) {
    case 'f32':
      return precision === 'f64' ? new Float64Array(memory) : new Float32Array(memory);
    case 'u32':
      return new Uint32Array(memory);
    case 'f16':
    case 'bf16':
      return new Uint16Array(memory);
    case 'u8':
      return new Uint8Array(memory);
  }
}

/**
 * A tensor of the cpu engine. Its memory exists from the moment the recorded `create` runs until the recorded `free`
 * has run, so peak memory follows the order of the calls, not how far ahead they were recorded.
 */
export class CpuTensor implements Tensor {
  data: HostArray | undefined;
  /** Set at the call of `free`: later use is a Bug even while queued operations still need the memory. */
  freed = false;

  constructor(
    readonly shape: readonly number[],
    readonly dtype: TensorDType,
    readonly label: string,
    readonly bytes: number,
    readonly owner: object,
  ) {}

  get length(): number {
    return elementCount(this);
  }

  /** The memory; only valid while an operation recorded on this tensor runs. */
  memory(): HostArray {
    if (this.data === undefined)
      throw new Bug(`internal: tensor ${this.label} has no memory when it is used`);
    return this.data;
  }
}
