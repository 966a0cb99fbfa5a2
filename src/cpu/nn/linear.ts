import type { Bits } from '../../engine/quant.js';
import { multiply } from '../linalg/multiply.js';
import { matrixCols, matrixRows, realsLike, wholeMatrix } from '../matrix.js';
import type { RealMatrix, Reals } from '../matrix.js';
import type { OpContext } from '../op-context.js';
import { codebookDequantize } from '../quant/codebook-dequantize.js';
import type { CodebookDequantizeArgs } from '../quant/codebook-dequantize.js';
import { dequantize } from '../quant/dequantize.js';
import { copyMatrix } from '../tensor/copy.js';
import type { DenseMatrix } from '../tensor/copy.js';
import { addBias } from './add-to.js';

/** A weight [N, K] on a grid, its parts as host memory. */
export interface GridMatrix {
  readonly bits: Bits;
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  readonly codes: Uint32Array;
  readonly groupOf: Uint32Array;
}

/** A weight [N, K] on a codebook, its parts as host memory. */
export type CodebookMatrix = Omit<CodebookDequantizeArgs, 'firstRow' | 'out'>;

export interface LinearArgs {
  /** [n, K]. */
  readonly x: RealMatrix;
  readonly weight: DenseMatrix | GridMatrix | CodebookMatrix;
  readonly bias: Reals | undefined;
  /** [n, N]. */
  readonly out: RealMatrix;
}

/** Elements of a weight that are expanded at a time (64 MiB in float32). */
const TILE_ELEMS = 2 ** 24;

/** out ← x·deq(weight)ᵀ (+ bias): the weight is expanded by tiles of rows, each tile one matrix product. */
export async function linear(context: OpContext, args: LinearArgs): Promise<void> {
  const { x, weight, bias, out } = args;
  if (!('codes' in weight) && !('half' in weight)) await multiplyTile(context, x, weight, out);
  else await multiplyExpanded(context, args, weight);
  if (bias !== undefined) addBias(out, bias);
}

async function multiplyExpanded(
  context: OpContext,
  { x, out }: LinearArgs,
  weight: DenseMatrix | GridMatrix | CodebookMatrix,
): Promise<void> {
  const cols = x.cols;
  const tileRows = Math.min(out.cols, Math.max(1, Math.floor(TILE_ELEMS / cols)));
  const tile = realsLike(x.data, tileRows * cols);
  context.scratch.hold(tile.byteLength);
  try {
    for (let row = 0; row < out.cols; row += tileRows) {
      const rows = Math.min(tileRows, out.cols - row);
      const expanded = matrixRows(wholeMatrix(tile, cols), 0, rows);
      if ('absmax' in weight) codebookDequantize({ ...weight, firstRow: row, out: expanded });
      else if ('codes' in weight) dequantize({ ...weight, firstRow: row, out: expanded });
      else
        copyMatrix(
          { ...weight, ...matrixRows<Reals | Uint16Array>(weight, row, rows) } as DenseMatrix,
          expanded,
        );
      await multiplyTile(context, x, expanded, matrixCols(out, row, rows));
    }
  } finally {
    context.scratch.release(tile.byteLength);
  }
}

function multiplyTile(
  context: OpContext,
  x: RealMatrix,
  weight: RealMatrix,
  out: RealMatrix,
): void | Promise<void> {
  return multiply(context, { a: x, b: weight, c: out, transA: false, transB: true, alpha: 1, beta: 0 });
}
