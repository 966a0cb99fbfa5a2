import { createRng } from '../../src/core/rng.js';
import type { Engine, HostArray } from '../../src/engine/engine.js';
import {
  asMatrix,
  elementCount,
  type MatrixView,
  type Tensor,
  type TensorDType,
} from '../../src/engine/tensor.js';

/**
 * Where a matrix lies in its larger tensor: at the start; at a multiple of four with such a stride; at an odd element
 * with an odd-length gap.
 */
export type Place = 'tight' | 'fours' | 'odd';

export const PLACES: readonly Place[] = ['tight', 'fours', 'odd'];

/** Value of the words around a view; exact in every dtype's own encoding. */
const GUARDS: Readonly<Record<TensorDType, number>> = {
  f32: -1234.5,
  f16: 0x5a5b,
  bf16: 0x5a5b,
  u32: 0xdeadbeef,
  u8: 0xa5,
};

const TAIL = 5;

/** Makes matrices as views inside larger tensors filled with a pattern, and checks the pattern when they are read. */
export class Guarded {
  private readonly tensors: Tensor[] = [];

  constructor(readonly engine: Engine) {}

  /** A view that holds `data` [rows, cols]. */
  put(
    data: ArrayLike<number>,
    rows: number,
    cols: number,
    options: { readonly place?: Place; readonly dtype?: TensorDType; readonly label?: string } = {},
  ): MatrixView {
    const { place = 'tight', dtype = 'f32', label = 'matrix' } = options;
    const { lead, stride } = layout(place, cols);
    const host = hostArray(dtype, lead + rows * stride + TAIL).fill(GUARDS[dtype]);
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < cols; j++) host[lead + i * stride + j] = data[i * cols + j];
    const tensor = this.engine.upload(host, [host.length], dtype, label);
    this.tensors.push(tensor);
    return { tensor, rows, cols, offset: lead, stride };
  }

  /** A view whose elements are NaN (f32) or the guard pattern, to be written by the operation. */
  blank(
    rows: number,
    cols: number,
    options: { readonly place?: Place; readonly dtype?: TensorDType; readonly label?: string } = {},
  ): MatrixView {
    const fill = (options.dtype ?? 'f32') === 'f32' ? NaN : 0;
    return this.put(new Float64Array(rows * cols).fill(fill), rows, cols, { label: 'blank', ...options });
  }

  /** Elements of a view, row after row; throws when a word around it has changed. */
  async read(view: MatrixView): Promise<Float64Array> {
    const host = await this.engine.read(view.tensor);
    const problem = guardProblem(host, view);
    if (problem !== '') throw new Error(problem);
    const out = new Float64Array(view.rows * view.cols);
    for (let i = 0; i < view.rows; i++)
      for (let j = 0; j < view.cols; j++) out[i * view.cols + j] = host[view.offset + i * view.stride + j];
    return out;
  }

  free(): void {
    this.engine.free(...this.tensors);
    this.tensors.length = 0;
  }
}

/** '' when every element outside the view holds the guard pattern. */
export function guardProblem(host: HostArray, view: MatrixView): string {
  const expected = GUARDS[view.tensor.dtype];
  for (let index = 0; index < host.length; index++) {
    const beyond = index - view.offset;
    const inside = beyond >= 0 && beyond < view.rows * view.stride && beyond % view.stride < view.cols;
    if (!inside && !Object.is(host[index], expected))
      return `element ${index} outside ${view.tensor.label} was changed to ${host[index]}`;
  }
  return '';
}

/** All elements of a tensor of numbers. */
export async function readAll(engine: Engine, tensor: Tensor): Promise<Float64Array> {
  return Float64Array.from(await engine.read(tensor, 0, elementCount(tensor)));
}

/** A whole tensor as a matrix, uploaded without guards. */
export function uploadMatrix(
  engine: Engine,
  data: HostArray,
  rows: number,
  cols: number,
  dtype: TensorDType,
  label: string,
): MatrixView {
  return asMatrix(engine.upload(data, [rows, cols], dtype, label));
}

/** Seeded normal numbers, rounded to float32 so that every engine starts from the same values. */
export function randomReals(count: number, seed: number, scale = 1): Float32Array {
  const rng = createRng(seed);
  return Float32Array.from({ length: count }, () => scale * rng.normal());
}

function layout(place: Place, cols: number): { readonly lead: number; readonly stride: number } {
  switch (place) {
    case 'tight':
      return { lead: 0, stride: cols };
    case 'fours':
      return { lead: 8, stride: 4 * Math.ceil(cols / 4) + 4 };
    case 'odd':
      return { lead: 3, stride: cols + (cols % 2 === 0 ? 3 : 2) };
  }
}

function hostArray(dtype: TensorDType, length: number): HostArray {
  switch (dtype) {
    case 'f32':
      return new Float32Array(length);
    case 'u32':
      return new Uint32Array(length);
    case 'f16':
    case 'bf16':
      return new Uint16Array(length);
    case 'u8':
      return new Uint8Array(length);
  }
}
