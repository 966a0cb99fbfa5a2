import { Bug } from '../../core/errors.js';
import type { HostArray } from '../../engine/engine.js';
import { TENSOR_DTYPE_BYTES } from '../../engine/tensor.js';
import type { CpuTensor } from './cpu-tensor.js';

/**
 * Host data as elements for a tensor: raw little-endian bytes (Uint8Array, for any dtype) become elements of the
 * dtype's stored form, which for f32 is float32 on either precision. Checks kind and range.
 */
export function hostSource(tensor: CpuTensor, data: HostArray, offset: number): HostArray {
  const source = data instanceof Uint8Array && tensor.dtype !== 'u8' ? fromBytes(tensor, data) : data;
  if (!accepts(tensor, source))
    throw new Bug(
      `internal: ${source.constructor.name} written to ${tensor.label}, which holds ${tensor.dtype}`,
    );
  if (offset < 0 || offset + source.length > tensor.length)
    throw new Bug(
      `internal: write of ${source.length} elements at ${offset} to ${tensor.label} of ${tensor.length} elements`,
    );
  return source;
}

/** Stores checked elements. */
export function writeHost(tensor: CpuTensor, source: HostArray, offset: number): void {
  tensor.memory().set(source, offset);
}

function accepts(tensor: CpuTensor, data: HostArray): boolean {
  switch (tensor.dtype) {
    case 'f32':
      return data instanceof Float32Array || data instanceof Float64Array;
    case 'f16':
    case 'bf16':
      return data instanceof Uint16Array;
    case 'u32':
      return data instanceof Uint32Array;
    case 'u8':
      return data instanceof Uint8Array;
  }
}

function fromBytes(tensor: CpuTensor, data: Uint8Array): HostArray {
  const width = TENSOR_DTYPE_BYTES[tensor.dtype];
  if (data.length % width !== 0)
    throw new Bug(
      `internal: ${data.length} bytes are no whole elements of ${tensor.label} (${tensor.dtype})`,
    );
  // A typed array must start at a multiple of its element width.
  const bytes = data.byteOffset % width === 0 ? data : data.slice();
  const length = data.length / width;
  switch (tensor.dtype) {
    case 'f32':
      return new Float32Array(bytes.buffer, bytes.byteOffset, length);
    case 'u32':
      return new Uint32Array(bytes.buffer, bytes.byteOffset, length);
    case 'f16':
    case 'bf16':
      return new Uint16Array(bytes.buffer, bytes.byteOffset, length);
    case 'u8':
      return data;
  }
}
