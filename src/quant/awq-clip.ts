/**
 * AWQ's clip search (Lin et al., MLSys 2024, and its code): each group's range is narrowed as long as the error of the
 * group's own output falls. That error is d·H_gg·dᵀ with the group's block of the Hessian, which holds every sampled token.
 */
import { roundToF16 } from '../core/dtype.js';
import { Bug } from '../core/errors.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import { MAX_BLOCK } from '../engine/linalg.js';
import { TensorScope } from '../engine/panels.js';
import { asMatrix, colRange, subMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import type { GroupGrid } from './fixed-grid.js';
import type { Hessian } from './hessian.js';
import { rangeGroups } from './range-groups.js';
import type { QuantSpec } from './records.js';
import { mirroredBlock, uploadDiagonal } from './residual-gradient.js';
import { rtnRows } from './rtn.js';
import { planRowChunks, WORK_BYTES } from './row-chunks.js';
import { resolveGroupSize } from './shape.js';

/** Shares of the full range tried: 1, 0.95 … 0.5. */
const SHARES = Array.from({ length: 11 }, (_, i) => 1 - i / 20);
const SMALLEST_F16 = 2 ** -24;

export interface ClipSearch {
  /** Dense [N, K], input columns multiplied by `factors`. */
  readonly weight: Tensor;
  /** [K]. */
  readonly factors: Float32Array;
  /** Of the inputs before they were divided by the factors. */
  readonly hessian: Hessian;
  readonly spec: QuantSpec;
}

/** Groups larger than a block of the Hessian, and one group per channel, keep their full range. */
export function canClip(spec: QuantSpec, columns: number): boolean {
  return resolveGroupSize(spec, columns) <= MAX_BLOCK;
}

/** The grid of least output error for each group of each row. */
export async function searchClip(engine: Engine, search: ClipSearch): Promise<GroupGrid> {
  const [rows, columns] = search.weight.shape;
  const groups = columns / resolveGroupSize(search.spec, columns);
  const grid = { scales: new Float32Array(rows * groups), zeros: new Float32Array(rows * groups) };
  // Scaled weights, errors, their products, codes.
  const limits = { workBytes: WORK_BYTES, maxTensorBytes: engine.maxTensorBytes };
  for (const { first, rows: count } of planRowChunks(rows, columns * 14, columns, limits)) {
    const part = await clipRows(engine, search, subMatrix(asMatrix(search.weight), first, count, 0, columns));
    grid.scales.set(part.scales, first * groups);
    grid.zeros.set(part.zeros, first * groups);
  }
  return grid;
}

async function clipRows(engine: Engine, search: ClipSearch, w: MatrixView): Promise<GroupGrid> {
  const { hessian, spec, factors } = search;
  const groupSize = resolveGroupSize(spec, w.cols);
  const groups = w.cols / groupSize;
  const scope = new TensorScope(engine);
  try {
    const scaled = asMatrix(scope.create([w.rows, w.cols], 'clipped weights'));
    engine.copy({ from: w, to: scaled });
    const matrix = (): Tensor => scope.create([w.rows, groups], 'clipped grid');
    const grid = { bits: spec.bits, scales: matrix(), zeros: matrix(), blocks: undefined };
    rangeGroups(engine, { spec, w: scaled, groupSize, grid, firstGroup: 0, importance: undefined });
    const full = await readReals(engine, grid.scales);
    const zeros = Float32Array.from(await readReals(engine, grid.zeros));
    const inverse = engine.upload(
      factors.map((factor) => 1 / factor),
      [w.cols],
      'f32',
      'column factors',
    );
    scope.own(inverse);
    const groupOf = Uint32Array.from({ length: w.cols }, (_, k) => Math.floor(k / groupSize));
    const judge = createJudge(engine, scope, { hessian, rows: w.rows, groupSize });
    const error = asMatrix(scope.create([w.rows, w.cols], 'clip error'));
    const codes = asMatrix(scope.own(engine.create([w.rows, w.cols], 'u8', 'clip codes')));
    const columnsOf = scope.own(engine.upload(groupOf, [w.cols], 'u32', 'groups'));
    const best = {
      scales: new Float32Array(full.length),
      errors: new Float64Array(full.length).fill(Infinity),
    };
    for (const share of SHARES) {
      const scales = Float32Array.from(full, (scale) => Math.max(roundToF16(scale * share), SMALLEST_F16));
      engine.write(grid.scales, scales);
      rtnRows(engine, { w: scaled, error, codes, grid, groupOf: columnsOf });
      engine.scaleLines({ x: error, factors: inverse, axis: 'columns' });
      keepBetter(best, scales, await judge(error));
    }
    return { scales: best.scales, zeros };
  } finally {
    scope.dispose();
  }
}

function keepBetter(
  best: { readonly scales: Float32Array; readonly errors: Float64Array },
  scales: Float32Array,
  errors: Float64Array,
): void {
  for (let i = 0; i < errors.length; i++)
    if (errors[i] < best.errors[i]) {
      best.errors[i] = errors[i];
      best.scales[i] = scales[i];
    }
}

/** Errors d [rows, K] → d·H_gg·dᵀ of each group of each row, [rows, G]. */
function createJudge(
  engine: Engine,
  scope: TensorScope,
  {
    hessian,
    rows,
    groupSize,
  }: { readonly hessian: Hessian; readonly rows: number; readonly groupSize: number },
): (error: MatrixView) => Promise<Float64Array> {
  if (groupSize > MAX_BLOCK) throw new Bug(`internal: groups of ${groupSize} are beyond one block`);
  const groups = hessian.square.size / groupSize;
  const diagonal = scope.own(uploadDiagonal(engine, hessian));
  const mirror = asMatrix(scope.create([MAX_BLOCK, MAX_BLOCK], 'mirrored block'));
  const product = asMatrix(scope.create([rows, groupSize], 'clip product'));
  return async (error) => {
    const sums = Array.from({ length: groups }, () =>
      engine.create([rows], 'f32', 'group errors', { zero: true }),
    );
    try {
      for (const [g, to] of sums.entries()) {
        const block = { start: g * groupSize, end: (g + 1) * groupSize };
        const h = mirroredBlock(engine, hessian.square, block, diagonal, mirror);
        const d = colRange(error, block.start, groupSize);
        engine.gemm({ a: d, b: h, c: product });
        engine.addRowDots({ x: product, y: d, to });
      }
      const errors = new Float64Array(rows * groups);
      for (const [g, sum] of sums.entries()) {
        const values = await readReals(engine, sum);
        for (let row = 0; row < rows; row++) errors[row * groups + g] = values[row];
      }
      return errors;
    } finally {
      engine.free(...sums);
    }
  };
}
