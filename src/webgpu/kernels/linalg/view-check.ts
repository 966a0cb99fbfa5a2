import { assert } from '../../../core/errors.js';
import { elementCount, type MatrixView, type TensorDType } from '../../../engine/tensor.js';

/** Bug unless the view lies inside its tensor, is one of `dtypes` and, where given, has the shape asked for. */
export function checkView(
  name: string,
  view: MatrixView,
  dtypes: readonly TensorDType[],
  rows = view.rows,
  cols = view.cols,
): void {
  const { tensor } = view;
  assert(
    dtypes.includes(tensor.dtype),
    `${name}: ${tensor.label} holds ${tensor.dtype}, expected ${dtypes.join(' or ')}`,
  );
  assert(
    view.rows === rows && view.cols === cols,
    `${name}: ${tensor.label} is [${view.rows}, ${view.cols}], expected [${rows}, ${cols}]`,
  );
  if (rows === 0 || cols === 0) return;
  const end = view.offset + (rows - 1) * view.stride + cols;
  assert(
    view.offset >= 0 && view.stride >= cols && end <= elementCount(tensor),
    `${name}: view of ${tensor.label} at ${view.offset} with stride ${view.stride} ends at ${end} of ${elementCount(tensor)}`,
  );
}

/** Whether every row of the view starts at a multiple of four elements, so that it can be read in fours. */
export function startsAtFours(view: MatrixView): boolean {
  return view.offset % 4 === 0 && view.stride % 4 === 0;
}
