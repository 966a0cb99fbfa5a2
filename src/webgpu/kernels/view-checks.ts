import { assert } from '../../core/errors.js';
import { elementCount } from '../../engine/tensor.js';
import type { DenseDType, MatrixView, Tensor, TensorDType } from '../../engine/tensor.js';

/** What an operation demands of its operands; every failure is a Bug that names operation, operand, found and wanted. */
export interface Checks {
  /** The view has this shape and one of these dtypes (default f32) and lies inside its tensor; u8 views also fall on whole words. */
  view(name: string, view: MatrixView, rows: number, cols: number, dtypes?: readonly TensorDType[]): void;
  /** The tensor has this dtype and at least this many elements. */
  vector(name: string, tensor: Tensor, length: number, dtype: TensorDType): void;
  /** The tensor holds exactly this shape. */
  shape(name: string, tensor: Tensor, shape: readonly number[], dtype: TensorDType): void;
  that(condition: boolean, message: string): void;
}

export function checksFor(operation: string): Checks {
  const checks: Checks = {
    that: (condition, message) => assert(condition, `${operation}: ${message}`),
    view: (name, view, rows, cols, dtypes = ['f32']) => {
      const { tensor, offset, stride } = view;
      const found = `${name} "${tensor.label}" is ${tensor.dtype} [${view.rows}, ${view.cols}]`;
      checks.that(
        view.rows === rows && view.cols === cols && dtypes.includes(tensor.dtype),
        `${found}, expected ${dtypes.join(' or ')} [${rows}, ${cols}]`,
      );
      const end = rows === 0 || cols === 0 ? 0 : offset + (rows - 1) * stride + cols;
      checks.that(
        offset >= 0 && stride >= cols && end <= elementCount(tensor),
        `${found} at ${offset} with stride ${stride} leaves its ${elementCount(tensor)} elements`,
      );
      checks.that(
        tensor.dtype !== 'u8' || (offset % 4 === 0 && stride % 4 === 0 && cols % 4 === 0),
        `${found} at ${offset} with stride ${stride}; u8 views need multiples of 4`,
      );
    },
    vector: (name, tensor, length, dtype) =>
      checks.that(
        tensor.dtype === dtype && elementCount(tensor) >= length,
        `${name} "${tensor.label}" is ${tensor.dtype} [${tensor.shape.join(', ')}], expected ${dtype} [${length}] or more`,
      ),
    shape: (name, tensor, shape, dtype) =>
      checks.that(
        tensor.dtype === dtype && tensor.shape.join() === shape.join(),
        `${name} "${tensor.label}" is ${tensor.dtype} [${tensor.shape.join(', ')}], expected ${dtype} [${shape.join(', ')}]`,
      ),
  };
  return checks;
}

/** Flags of common/element.wgsl for a weight's dtype; `checks` refuses the others. */
export function elementFlags(checks: Checks, name: string, tensor: Tensor): readonly ('F16' | 'BF16')[] {
  const dtype = tensor.dtype;
  checks.that(isDense(dtype), `${name} "${tensor.label}" is ${dtype}, expected f32, f16 or bf16`);
  return dtype === 'f16' ? ['F16'] : dtype === 'bf16' ? ['BF16'] : [];
}

function isDense(dtype: TensorDType): dtype is DenseDType {
  return dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';
}

/** One operand's check without a shape of its own; see Checks.view. */
export function checkView(
  operation: string,
  view: MatrixView,
  dtypes: readonly TensorDType[],
  rows = view.rows,
  cols = view.cols,
): void {
  checksFor(operation).view('operand', view, rows, cols, dtypes);
}

/** Whether every row of the view starts at a multiple of four elements, so that it can be read in fours. */
export function startsAtFours(view: MatrixView): boolean {
  return view.offset % 4 === 0 && view.stride % 4 === 0;
}
