import { expect } from 'vitest';
import type { Engine, HostArray } from '../../src/engine/engine.js';
import type { MatrixView, Tensor, TensorDType } from '../../src/engine/tensor.js';

/** Where a matrix lies inside its tensor, in elements. */
export interface Layout {
  readonly offset: number;
  /** Elements between the end of a row and the next row. */
  readonly gap: number;
}

export const WHOLE: Layout = { offset: 0, gap: 0 };
/** Starts and strides that are no multiple of anything. */
export const STRIDED: Layout = { offset: 7, gap: 3 };
/** As odd as a view of bytes may be. */
export const WORDS: Layout = { offset: 12, gap: 4 };
export const LAYOUTS: readonly Layout[] = [WHOLE, STRIDED];

/** Elements after the last one. */
const TAIL = 8;
/** Around the matrix, by dtype. */
const GUARD = { f32: 4711.25, u8: 0xc3, u32: 0xc3c3c3c3, f16: 0x1234, bf16: 0x1234 } as const;
/** Inside a matrix that an operation must fill. */
const UNWRITTEN = { f32: NaN, u8: 0xee, u32: 0xeeeeeeee, f16: 0x7e00, bf16: 0x7fc0 } as const;

/** A matrix inside a larger tensor whose other elements are guards. */
export interface Placed {
  readonly view: MatrixView;
  /** Row-major contents; fails when a guard has changed. */
  take(): Promise<Float64Array>;
}

export interface Placement {
  readonly rows: number;
  readonly cols: number;
  readonly dtype?: TensorDType;
  /** Row-major contents; without them the matrix is filled with values that no operation leaves behind. */
  readonly values?: ArrayLike<number>;
  readonly layout?: Layout;
}

/** Uploads a guarded matrix. */
export function place(engine: Engine, label: string, placement: Placement): Placed {
  const { rows, cols, dtype = 'f32', values, layout = WHOLE } = placement;
  const stride = cols + layout.gap;
  const total = layout.offset + rows * stride + TAIL;
  const at = (i: number): number => layout.offset + Math.floor(i / cols) * stride + (i % cols);
  const host = hostArray(dtype, total).fill(GUARD[dtype]);
  for (let i = 0; i < rows * cols; i++) host[at(i)] = values === undefined ? UNWRITTEN[dtype] : values[i];
  const tensor = engine.upload(host, [total], dtype, label);
  return {
    view: { tensor, rows, cols, offset: layout.offset, stride },
    take: async () => {
      const data = await engine.read(tensor);
      const own = (i: number): boolean =>
        i >= layout.offset && i < layout.offset + rows * stride && (i - layout.offset) % stride < cols;
      const touched = data.findIndex((value, i) => !own(i) && value !== GUARD[dtype]);
      expect(touched, `first guard of ${label} that was overwritten`).toBe(-1);
      return Float64Array.from({ length: rows * cols }, (_, i) => data[at(i)]);
    },
  };
}

/** Uploads a tensor of just these values. */
export function upload(
  engine: Engine,
  label: string,
  dtype: TensorDType,
  shape: readonly number[],
  values: ArrayLike<number>,
): Tensor {
  return engine.upload(hostArray(dtype, values.length, values), shape, dtype, label);
}

function hostArray(dtype: TensorDType, length: number, values?: ArrayLike<number>): HostArray {
  const make = { f32: Float32Array, u32: Uint32Array, f16: Uint16Array, bf16: Uint16Array, u8: Uint8Array };
  const array = new make[dtype](length);
  if (values !== undefined) array.set(values);
  return array;
}

/** Seeded float32 values. */
export function float32s(length: number, next: () => number): Float32Array {
  return Float32Array.from({ length }, next);
}

/** Index of the first element that is not the same, −1 where there is none. NaN equals nothing. */
export function firstMismatch(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Math.min(actual.length, expected.length);
  return Array.prototype.findIndex.call(actual, (value: number, i) => value !== expected[i]);
}

/** Normalised mean squared error Σ(a−b)²/Σb². Fails on values that are not finite and on unequal lengths. */
export function nmse(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let error = 0;
  let power = 0;
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(actual[i]) || !Number.isFinite(expected[i]))
      throw new Error(`element ${i} is ${actual[i]}, expected ${expected[i]}`);
    error += (actual[i] - expected[i]) ** 2;
    power += expected[i] ** 2;
  }
  return error === 0 ? 0 : error / power;
}

/** Largest |a − b| / (floor + |b|). Fails on values that are not finite and on unequal lengths. */
export function largestError(actual: ArrayLike<number>, expected: ArrayLike<number>, floor: number): number {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / (floor + Math.abs(expected[i]));
    if (!(error >= 0 && error < Infinity))
      throw new Error(`element ${i} is ${actual[i]}, expected ${expected[i]}`);
    worst = Math.max(worst, error);
  }
  return worst;
}
