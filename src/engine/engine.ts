import type { CodebookOps } from './codebook.js';
import type { LinalgOps } from './linalg.js';
import type { NnOps } from './nn.js';
import type { QuantOps } from './quant.js';
import type { HqqOps } from './hqq.js';
import type { QuantizeGroupsOps } from './quantize-groups.js';
import type { Tensor, TensorDType } from './tensor.js';

/** What `read` resolves to, by dtype: f32 gives the engine's precision; f16 and bf16 give raw bits. */
export type HostArray = Float32Array | Float64Array | Uint32Array | Uint16Array | Uint8Array;

export interface CreateOptions {
  /** Contents are zero instead of unspecified. */
  readonly zero?: boolean;
  /**
   * The tensor will be written from the host and read back many times: an engine may keep it where all its threads reach it
   * without copies.
   */
  readonly staging?: boolean;
}

/** Facts about an engine for reports and for `doctor`; plain data. */
export interface EngineInfo {
  readonly engine: 'webgpu' | 'cpu';
  /** Adapter or processor in words, such as "llvmpipe (LLVM 15.0.6, 256 bits)". */
  readonly adapter: string;
  /** True for an adapter that computes on the CPU (lavapipe, SwiftShader, WARP). */
  readonly software: boolean;
  readonly precision: 'f32' | 'f64';
  /** What computes matrix products on the cpu engine, such as "onnxruntime 1.30.0" or "plain loops". */
  readonly matrixLibrary?: string;
  /** Features in use, such as "subgroups", "shader-f16", "timestamp-query". */
  readonly features: readonly string[];
  /** Limits that shaped the run, in the units of the WebGPU specification. */
  readonly limits: Readonly<Record<string, number>>;
}

export interface MemoryUse {
  /** Bytes in live tensors and pools now. */
  readonly allocatedBytes: number;
  /** Largest value of allocatedBytes since the engine was made or resetPeak was called. */
  readonly peakBytes: number;
  /** Live tensors, for leak checks. */
  readonly tensors: number;
  /** Budget the engine keeps to; an allocation beyond it is a DeviceError. Infinity when none was asked for. */
  readonly budgetBytes: number;
}

/**
 * What can compute. Two engines honour this contract: `webgpu` (WGSL kernels) and `cpu` (float64 oracle, float32 with a
 * matrix library). Nothing above them knows which one runs.
 *
 * Order: operations are recorded in call order and behave as if executed in that order. They return at once; they are
 * complete when a later `read` or `sync` resolves. Shape mistakes throw at the call (Bug); a failure while executing
 * (device lost, out of memory, invalid shader) rejects the next `read` or `sync` and every one after it.
 *
 * Memory: `create` contents are unspecified (the webgpu engine may hand out used memory) unless `zero` is asked for.
 * `free` may be called as soon as the last operation using the tensor is recorded; memory returns when that has run.
 *
 * Determinism: the same calls with the same data on the same adapter give the same bits.
 */
export interface Engine extends LinalgOps, NnOps, QuantOps, CodebookOps, QuantizeGroupsOps, HqqOps {
  readonly info: EngineInfo;
  /** Largest tensor in bytes; bigger matrices are cut into row panels by the caller (planRowPanels). */
  readonly maxTensorBytes: number;

  create(shape: readonly number[], dtype: TensorDType, label: string, options?: CreateOptions): Tensor;
  /**
   * Copies host data into the tensor from element `offset` on; the array may be reused at once. f32 accepts Float32Array
   * and Float64Array; u32 Uint32Array; f16/bf16 Uint16Array (raw bits); u8 Uint8Array; every dtype accepts raw
   * little-endian bytes as Uint8Array.
   */
  write(tensor: Tensor, data: HostArray, offset?: number): void;
  /** create and write in one call; data length must equal the shape's product. */
  upload(data: HostArray, shape: readonly number[], dtype: TensorDType, label: string): Tensor;
  /** Copies `count` elements from element `offset` on (default: all) to a new host array, after all recorded operations. */
  read(tensor: Tensor, offset?: number, count?: number): Promise<HostArray>;
  free(...tensors: readonly Tensor[]): void;
  /** Resolves when everything recorded so far has run. */
  sync(): Promise<void>;

  memory(): MemoryUse;
  resetPeak(): void;
  /** Frees everything; the engine cannot be used afterwards. */
  dispose(): Promise<void>;
}

/** `read` of an f32 tensor. */
export async function readReals(
  engine: Engine,
  tensor: Tensor,
  offset?: number,
  count?: number,
): Promise<Float32Array | Float64Array> {
  const data = await engine.read(tensor, offset, count);
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  throw new TypeError(`${tensor.label} holds ${tensor.dtype}, not real numbers`);
}
