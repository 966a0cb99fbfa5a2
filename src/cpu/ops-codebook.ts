import { ceilDiv } from '../core/dims.js';
import { CODEBOOK_BLOCK_SIZES } from '../engine/codebook.js';
import type { CodebookOps, CodebookWeight } from '../engine/codebook.js';
import { elementCount } from '../engine/tensor.js';
import type { DenseDType, MatrixView, Tensor } from '../engine/tensor.js';
import { OpCheck } from './op-check.js';
import { bytes, dense, realColumn, reals, runRows } from './op-context.js';
import type { OpContext } from './op-context.js';
import { codebookDequantize } from './quant/codebook-dequantize.js';
import type { CodebookDequantizeArgs } from './quant/codebook-dequantize.js';
import { codebookQuantize } from './quant/codebook-quantize.js';
import type { CodebookQuantizeArgs } from './quant/codebook-quantize.js';

const REAL = ['f32'] as const;
const DENSE = ['f32', 'f16', 'bf16'] as const;
/** Measured: nanoseconds a weight on one thread. */
const WEIGHT_NS = 1.5;

/** Checks the parts of a weight on a codebook. */
export function checkCodebook(check: OpCheck, weight: CodebookWeight): void {
  const count = weight.outFeatures * weight.inFeatures;
  checkBlockSize(check, weight.blockSize)
    .tensor('codes', weight.codes, ['u8'], ceilDiv(count, 2))
    .tensor('absmax', weight.absmax, REAL, ceilDiv(count, weight.blockSize))
    .tensor('table', weight.table, REAL, 16);
}

/** The parts of a weight on a codebook as host memory. */
export function hostCodebook(weight: CodebookWeight): Omit<CodebookDequantizeArgs, 'firstRow' | 'out'> {
  return {
    codes: bytes(run(weight.codes)).data,
    absmax: realColumn(weight.absmax).data,
    table: realColumn(weight.table).data,
    blockSize: weight.blockSize,
  };
}

function checkBlockSize(check: OpCheck, blockSize: number): OpCheck {
  const known: readonly number[] = CODEBOOK_BLOCK_SIZES;
  return check.that(
    known.includes(blockSize),
    `block size ${blockSize}, expected one of ${known.join(', ')}`,
  );
}

/** Elements [first, first + count) of a tensor as one row. */
function run(tensor: Tensor, first = 0, count = elementCount(tensor) - first): MatrixView {
  return { tensor, rows: 1, cols: count, offset: first, stride: count };
}

/** Whole blocks on all threads, then a short last one here. */
async function quantizeBlocks(context: OpContext, args: CodebookQuantizeArgs): Promise<void> {
  const { w, dtype, codebook, blockSize, codes, absmax } = args;
  const rows = Math.floor(w.length / blockSize);
  const rest = rows * blockSize;
  const blocks = <T>(data: T, cols: number) => ({ data, rows, cols, offset: 0, stride: cols });
  if (rows > 0)
    await runRows(
      context,
      'codebook-blocks',
      {
        w: w instanceof Uint16Array ? blocks(w, blockSize) : blocks(w, blockSize),
        dtype,
        codebook,
        codes: blocks(codes, blockSize / 2),
        absmax: blocks(absmax, 1),
      },
      rest * WEIGHT_NS,
    );
  if (rest < w.length)
    codebookQuantize({
      ...args,
      w: w.subarray(rest),
      codes: codes.subarray(rest / 2),
      absmax: absmax.subarray(rows),
    });
}

/** Quantization onto a codebook: checks at the call, work in call order. */
export function createCodebookOps(context: OpContext): CodebookOps {
  return {
    codebookQuantize({ w, first = 0, count = elementCount(w) - first, codebook, blockSize, codes, absmax }) {
      const check = new OpCheck('codebookQuantize', context);
      checkBlockSize(check, blockSize)
        .least('count', count, 1)
        .view('w', run(w, first, count), DENSE)
        .that(first % blockSize === 0, `first element ${first} is no multiple of the block size ${blockSize}`)
        .tensor('codes', codes, ['u8'], ceilDiv(count, 2))
        .tensor('absmax', absmax, REAL, ceilDiv(count, blockSize))
        .done();
      context.record(() =>
        quantizeBlocks(context, {
          w: dense(run(w)).data.subarray(first, first + count),
          dtype: w.dtype as DenseDType,
          codebook,
          blockSize,
          codes: bytes(run(codes)).data,
          absmax: realColumn(absmax).data,
        }),
      );
    },
    codebookDequantize({ weight, out }) {
      const check = new OpCheck('codebookDequantize', context).view(
        'out',
        out,
        REAL,
        weight.outFeatures,
        weight.inFeatures,
      );
      checkCodebook(check, weight);
      check.done();
      context.record(() => codebookDequantize({ ...hostCodebook(weight), firstRow: 0, out: reals(out) }));
    },
  };
}
