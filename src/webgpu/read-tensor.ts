import { Bug } from '../core/errors.js';
import type { HostArray } from '../engine/engine.js';
import { TENSOR_DTYPE_BYTES, elementCount, type TensorDType } from '../engine/tensor.js';
import { BUFFER_USAGE, MAP_MODE_READ } from './gpu-constants.js';
import type { GpuContext } from './gpu-context.js';
import type { GpuTensor } from './gpu-tensor.js';

/** Bytes brought back at a time: bounds the mapped staging memory. */
const CHUNK_BYTES = 32 << 20;

/** Copies `count` elements from element `offset` on to the host, after everything recorded before. */
export async function readTensor(
  context: GpuContext,
  tensor: GpuTensor,
  offset: number,
  count = elementCount(tensor) - offset,
): Promise<HostArray> {
  const width = TENSOR_DTYPE_BYTES[tensor.dtype];
  if (!Number.isSafeInteger(offset) || offset < 0 || count < 0 || offset + count > elementCount(tensor))
    throw new Bug(`internal: read of ${count} elements from ${offset} on leaves ${tensor.label}`);
  const bytes = new Uint8Array(count * width);
  // The copies are recorded now, so that the tensor may be written or freed before the promise resolves.
  const stagings = stageCopies(context, tensor, offset * width, bytes.byteLength);
  try {
    for (const { buffer, start, skip, size } of stagings) {
      await buffer.mapAsync(MAP_MODE_READ);
      bytes.set(new Uint8Array(buffer.getMappedRange(), skip, size), start);
      buffer.unmap();
    }
  } catch (cause) {
    throw await context.health.explain(cause, `reading ${tensor.label}`);
  } finally {
    for (const { buffer } of stagings) buffer.destroy();
  }
  context.recorder.noteIdle();
  await context.health.settle();
  return hostArray(tensor.dtype, bytes.buffer);
}

interface Staging {
  readonly buffer: GPUBuffer;
  /** First byte of the result that it holds. */
  readonly start: number;
  /** Bytes in front of it that only alignment brought along. */
  readonly skip: number;
  readonly size: number;
}

function stageCopies(context: GpuContext, tensor: GpuTensor, first: number, bytes: number): Staging[] {
  const stagings: Staging[] = [];
  context.recorder.submit((encoder) => {
    for (let start = 0; start < bytes; start += CHUNK_BYTES) {
      const size = Math.min(CHUNK_BYTES, bytes - start);
      const skip = (first + start) % 4;
      const copied = Math.ceil((skip + size) / 4) * 4;
      const buffer = context.device.createBuffer({
        label: `read ${tensor.label}`,
        size: copied,
        usage: BUFFER_USAGE.mapRead | BUFFER_USAGE.copyTarget,
      });
      encoder.copyBufferToBuffer(tensor.buffer.gpu, first + start - skip, buffer, 0, copied);
      stagings.push({ buffer, start, skip, size });
    }
  });
  return stagings;
}

function hostArray(dtype: TensorDType, buffer: ArrayBuffer): HostArray {
  switch (dtype) {
    case 'f32':
      return new Float32Array(buffer);
    case 'u32':
      return new Uint32Array(buffer);
    case 'f16':
    case 'bf16':
      return new Uint16Array(buffer);
    case 'u8':
      return new Uint8Array(buffer);
  }
}
