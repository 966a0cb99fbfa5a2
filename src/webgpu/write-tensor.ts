import { Bug } from '../core/errors.js';
import type { HostArray } from '../engine/engine.js';
import { TENSOR_DTYPE_BYTES } from '../engine/tensor.js';
import type { GpuContext } from './gpu-context.js';
import type { GpuTensor } from './gpu-tensor.js';

/** Bytes per queue write: Dawn is fastest from 4 MiB up, and each piece is staged once more on the host. */
const CHUNK_BYTES = 16 << 20;

/** Copies host data into a tensor from element `offset` on. The array may be changed as soon as this returns. */
export function writeTensor(context: GpuContext, tensor: GpuTensor, data: HostArray, offset: number): void {
  const width = TENSOR_DTYPE_BYTES[tensor.dtype];
  checkType(tensor, data);
  const bytes = data instanceof Float64Array ? 4 * data.length : data.byteLength;
  const start = offset * width;
  if (!Number.isSafeInteger(offset) || offset < 0 || start + bytes > tensor.bytes)
    throw new Bug(
      `internal: write of ${bytes} bytes from element ${offset} on leaves ${tensor.label} (${tensor.bytes} bytes)`,
    );
  if (bytes === 0) return;
  // The queue writes before anything that is recorded but not yet submitted.
  if (context.recorder.uses(tensor.buffer)) context.recorder.submit();
  const endsTensor = start + bytes === tensor.bytes;
  const aligned = start % 4 === 0 && (bytes % 4 === 0 || endsTensor);
  if (!aligned) {
    mergeBytes(context, tensor, asBytes(data), start);
    return;
  }
  for (let from = 0; from < bytes; from += CHUNK_BYTES) {
    const size = Math.min(CHUNK_BYTES, bytes - from);
    const piece =
      data instanceof Float64Array ? toF32Bytes(data, from, size) : asBytes(data).subarray(from, from + size);
    queueWrite(context, tensor, piece, start + from);
  }
}

/** One queue write at a multiple of four; a ragged end is padded into bytes past the tensor that nobody reads. */
function queueWrite(context: GpuContext, tensor: GpuTensor, piece: Uint8Array, at: number): void {
  const whole = piece.byteLength - (piece.byteLength % 4);
  const { queue } = context.device;
  if (whole > 0) queue.writeBuffer(tensor.buffer.gpu, at, piece.buffer, piece.byteOffset, whole);
  if (whole === piece.byteLength) return;
  const tail = new Uint8Array(4);
  tail.set(piece.subarray(whole));
  queue.writeBuffer(tensor.buffer.gpu, at + whole, tail);
}

/** The slow way for ranges that start or end inside a word. */
function mergeBytes(context: GpuContext, tensor: GpuTensor, bytes: Uint8Array, start: number): void {
  const staged = context.create([bytes.byteLength], 'u8', `bytes for ${tensor.label}`, false);
  if (context.recorder.uses(staged.buffer)) context.recorder.submit();
  queueWrite(context, staged, bytes, 0);
  const words = Math.floor((start + bytes.byteLength - 1) / 4) - Math.floor(start / 4) + 1;
  context.dispatch({
    shader: 'tensor/merge-bytes',
    params: { first: start, count: bytes.byteLength, words },
    tensors: [staged, tensor],
    workgroups: Math.ceil(words / 256),
  });
  context.free(staged);
}

function checkType(tensor: GpuTensor, data: HostArray): void {
  const fits = {
    f32: data instanceof Float32Array || data instanceof Float64Array,
    u32: data instanceof Uint32Array,
    f16: data instanceof Uint16Array,
    bf16: data instanceof Uint16Array,
    u8: data instanceof Uint8Array,
  }[tensor.dtype];
  if (!fits && !(data instanceof Uint8Array))
    throw new Bug(`internal: ${tensor.label} holds ${tensor.dtype}, a ${data.constructor.name} does not fit`);
}

function asBytes(data: Exclude<HostArray, Float64Array> | HostArray): Uint8Array {
  if (data instanceof Float64Array) return toF32Bytes(data, 0, 4 * data.length);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Float32 bytes [from, from + size) of float64 data. */
function toF32Bytes(data: Float64Array, from: number, size: number): Uint8Array {
  return new Uint8Array(Float32Array.from(data.subarray(from / 4, (from + size) / 4)).buffer);
}
