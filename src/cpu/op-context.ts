import { Bug } from '../core/errors.js';
import type { MatrixView, Tensor, TensorDType } from '../engine/tensor.js';
import type { HalfMatrix, Matrix, RealMatrix } from './matrix.js';
import type { MatrixLibrary } from './matrix-library.js';
import { runRowKernel } from './row-kernels.js';
import type { RowKernelArgs, RowKernelName } from './row-kernels.js';
import type { RowPool } from './row-pool.js';
import type { RowScratch } from './row-scratch.js';
import type { ScratchArena } from './scratch-arena.js';
import type { Task } from './queue.js';
import { CpuTensor } from './tensor/cpu-tensor.js';
import type { Precision } from './tensor/cpu-tensor.js';

/** What operations may use of the engine. */
export interface OpContext {
  readonly precision: Precision;
  readonly library: MatrixLibrary | undefined;
  readonly pool: RowPool | undefined;
  /** Bookkeeping of memory that an operation holds only while it runs. */
  readonly scratch: ScratchMeter;
  /** Float32 buffers kept between operations; one operation uses them at a time. */
  readonly arena: ScratchArena;
  /** What row kernels keep when they run on this thread. */
  readonly rows: RowScratch;
  /** Records an operation on tensors that were checked before. */
  record(task: Task): void;
}

/** Counts scratch bytes so that the engine's peak includes them. */
export interface ScratchMeter {
  hold(bytes: number): void;
  release(bytes: number): void;
}

/** Memory of an f32 view; only valid while a recorded operation runs. */
export function reals(view: MatrixView): RealMatrix {
  const data = hostOf(view.tensor);
  if (data instanceof Float32Array || data instanceof Float64Array) return placed(view, data);
  throw mistyped(view.tensor, 'f32');
}

/** A whole f32 tensor as one column [length, 1]. */
export function realColumn(tensor: Tensor): RealMatrix {
  const length = hostOf(tensor).length;
  return reals({ tensor, rows: length, cols: 1, offset: 0, stride: 1 });
}

export function bytes(view: MatrixView): Matrix<Uint8Array> {
  const data = hostOf(view.tensor);
  if (data instanceof Uint8Array) return placed(view, data);
  throw mistyped(view.tensor, 'u8');
}

export function words(tensor: Tensor): Uint32Array {
  const data = hostOf(tensor);
  if (data instanceof Uint32Array) return data;
  throw mistyped(tensor, 'u32');
}

/** An f32, f16 or bf16 view. */
export function dense(view: MatrixView): RealMatrix | HalfMatrix {
  const data = hostOf(view.tensor);
  const { dtype } = view.tensor;
  if (data instanceof Uint16Array && (dtype === 'f16' || dtype === 'bf16'))
    return { ...placed(view, data), half: dtype };
  return reals(view);
}

/** Runs a row kernel over the pool where that pays, else here. */
export function runRows<Name extends RowKernelName>(
  context: OpContext,
  name: Name,
  args: RowKernelArgs<Name>,
  cost: number,
): void | Promise<void> {
  const pooled = context.pool?.run(name, args, cost);
  if (pooled !== undefined) return pooled;
  runRowKernel(name, args, context.rows);
}

function hostOf(tensor: Tensor): CpuTensor['data'] & object {
  if (tensor instanceof CpuTensor) return tensor.memory();
  throw new Bug(`internal: tensor ${tensor.label} belongs to another engine`);
}

function placed<T>(view: MatrixView, data: T): Matrix<T> {
  return { data, rows: view.rows, cols: view.cols, offset: view.offset, stride: view.stride };
}

function mistyped(tensor: Tensor, wanted: TensorDType): Bug {
  return new Bug(`internal: tensor ${tensor.label} is ${tensor.dtype}, expected ${wanted}`);
}
