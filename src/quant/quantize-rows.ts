/**
 * Everything that happens to one chunk of rows: figures of the unquantized layer and of round-to-nearest, GPTQ,
 * refinement, packing. One f32 [rows, K] matrix serves all of them in turn.
 */
import { NumericError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { readReals } from '../engine/engine.js';
import { TensorScope } from '../engine/panels.js';
import { asMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import type { Factor } from './factor.js';
import type { GroupGrid } from './fixed-grid.js';
import { gptqRows, importanceFrom } from './gptq.js';
import type { GptqRows } from './gptq.js';
import type { GroupMap } from './group-map.js';
import type { Hessian } from './hessian.js';
import { quadraticForm, undamped } from './quadratic-form.js';
import { rangeGroups } from './range-groups.js';
import type { GridTensors } from './range-groups.js';
import type { QuantSpec } from './records.js';
import { refineRows } from './refine.js';
import type { RowChunk } from './row-chunks.js';
import { weightRows } from './row-chunks.js';
import { rtnRows } from './rtn.js';

/** A Hessian with its factor, or neither (data-free). */
export interface Curvature {
  readonly hessian: Hessian;
  readonly factor: Factor;
}

export interface RowsJob {
  /** Layer, for errors. */
  readonly name: string;
  /** Dense [N, K]. */
  readonly weight: Tensor;
  /** K. */
  readonly columns: number;
  readonly spec: QuantSpec;
  readonly method: 'gptq' | 'rtn';
  readonly curvature: Curvature | undefined;
  readonly map: GroupMap;
  /** u32 [K] each, on the engine. */
  readonly groupOf: Tensor;
  readonly rtnGroupOf: Tensor;
  readonly positionOf: Tensor;
  /** f32 [K], in processing order: what an error in a column costs GPTQ; undefined where no range asks for it. */
  readonly costs: Tensor | undefined;
  /** Set where scales and zeros are made before. */
  readonly fixedGrid: GroupGrid | undefined;
  /** Whether to work out rtnLoss and energy besides the loss. */
  readonly compare: boolean;
}

/** Where one chunk's results go; row counts equal the chunk's. */
export interface RowsTarget {
  readonly grid: GridTensors;
  /** u32 [rows, K·bits/32]. */
  readonly packed: Tensor;
  /** The codes before refinement, kept in case refinement does not pay. */
  readonly packedUnrefined: Tensor | undefined;
}

/** Sums over rows; undefined for what was not asked for. */
export interface RowFigures {
  /** tr(W H Wᵀ). */
  energy?: number;
  rtnLoss?: number;
  loss?: number;
  refinedLoss?: number;
}

interface Matrices {
  /** f32 [rows, K]. */
  readonly work: MatrixView;
  /** u8 [rows, K]. */
  readonly codes: MatrixView;
}

export async function quantizeRows(
  engine: Engine,
  job: RowsJob,
  chunk: RowChunk,
  target: RowsTarget,
): Promise<RowFigures> {
  const scope = new TensorScope(engine);
  const { columns } = job;
  try {
    const matrices: Matrices = {
      work: asMatrix(scope.create([chunk.rows, columns], 'quantizer work')),
      codes: asMatrix(scope.own(engine.create([chunk.rows, columns], 'u8', 'codes'))),
    };
    const staticGrid = await rangeRows(engine, job, { chunk, target, matrices, scope });
    const processed = await weightRows(engine, job.weight, chunk, {
      order: job.curvature?.hessian.order,
      dead: job.curvature?.hessian.dead ?? [],
    });
    if (processed.owned !== undefined) scope.own(processed.owned);
    const rows = { w: processed.view, matrices, target, staticGrid };
    if (job.method === 'rtn') return await finishRtn(engine, job, rows);
    return await finishGptq(engine, job, rows);
  } finally {
    scope.dispose();
  }
}

/**
 * Refuses NaN and infinity, then makes the scales of every group from the original weights where something needs them:
 * static groups, and round-to-nearest for comparison.
 */
async function rangeRows(
  engine: Engine,
  job: RowsJob,
  part: {
    readonly chunk: RowChunk;
    readonly target: RowsTarget;
    readonly matrices: Matrices;
    readonly scope: TensorScope;
  },
): Promise<GridTensors> {
  const { chunk, target, matrices, scope } = part;
  const { spec, map } = job;
  const original = await weightRows(engine, job.weight, chunk, {
    order: undefined,
    dead: job.curvature?.hessian.dead ?? [],
  });
  engine.copy({ from: original.view, to: matrices.work });
  if (original.owned !== undefined) engine.free(original.owned);
  await checkFinite(engine, job, chunk, matrices.work);
  const dynamic = map.dynamicGroup !== undefined;
  const shape = [chunk.rows, map.groups];
  const { blocks } = target.grid;
  const grid: GridTensors = dynamic
    ? {
        bits: spec.bits,
        scales: scope.create(shape, 'rtn scales'),
        zeros: scope.create(shape, 'rtn zeros'),
        blocks: blocks === undefined ? undefined : scope.create(blocks.shape, 'rtn super-blocks'),
      }
    : target.grid;
  if (job.fixedGrid !== undefined) {
    const [from, to] = [chunk.first * map.groups, (chunk.first + chunk.rows) * map.groups];
    engine.write(grid.scales, job.fixedGrid.scales.subarray(from, to));
    engine.write(grid.zeros, job.fixedGrid.zeros.subarray(from, to));
  } else if (!dynamic || job.compare)
    rangeGroups(engine, {
      spec,
      w: matrices.work,
      groupSize: map.groupSize,
      grid,
      firstGroup: 0,
      // The costs are those of GPTQ, in its order of columns.
      importance:
        dynamic || job.curvature?.hessian.order !== undefined ? undefined : importanceFrom(job.costs, 0),
    });
  return grid;
}

async function checkFinite(engine: Engine, job: RowsJob, chunk: RowChunk, work: MatrixView): Promise<void> {
  const count = engine.create([1], 'u32', 'non-finite weight rows', { zero: true });
  engine.countNonFiniteRows({ x: work, count });
  const rows = (await engine.read(count))[0];
  engine.free(count);
  if (rows === 0) return;
  const values = await readReals(engine, work.tensor);
  const index = values.findIndex((value) => !Number.isFinite(value));
  throw new NumericError(
    `weight is ${values[index]} where a finite number is expected (${rows} rows of ${chunk.first} … ${chunk.first + chunk.rows - 1} affected)`,
    {
      layer: job.name,
      step: 'weights',
      index: chunk.first * job.columns + index,
      advice:
        'the checkpoint is damaged or was saved after a diverged training; get it again or leave this layer out',
    },
  );
}

interface RowsInHand {
  /** [rows, K] in processing order, dead columns zero. */
  readonly w: MatrixView;
  readonly matrices: Matrices;
  readonly target: RowsTarget;
  readonly staticGrid: GridTensors;
}

async function finishRtn(engine: Engine, job: RowsJob, rows: RowsInHand): Promise<RowFigures> {
  const { w, matrices, target } = rows;
  const figures: RowFigures = {};
  if (job.curvature !== undefined && job.compare)
    figures.energy = await energyOf(engine, job.curvature, rows);
  rtnRows(engine, {
    w,
    error: matrices.work,
    codes: matrices.codes,
    grid: target.grid,
    groupOf: job.rtnGroupOf,
  });
  pack(engine, job, matrices, target.packed);
  if (job.curvature !== undefined) {
    const { hessian, factor } = job.curvature;
    figures.loss = await quadraticForm(engine, hessian, factor, matrices.work);
    figures.rtnLoss = figures.loss;
  }
  return figures;
}

async function finishGptq(engine: Engine, job: RowsJob, rows: RowsInHand): Promise<RowFigures> {
  const { curvature, spec, map } = job;
  if (curvature === undefined) return {};
  const { hessian, factor } = curvature;
  const { w, matrices, target, staticGrid } = rows;
  const figures: RowFigures = {};
  if (job.compare) {
    figures.energy = await energyOf(engine, curvature, rows);
    rtnRows(engine, {
      w,
      error: matrices.work,
      codes: matrices.codes,
      grid: staticGrid,
      groupOf: job.rtnGroupOf,
    });
    figures.rtnLoss = await quadraticForm(engine, hessian, factor, matrices.work);
  }
  const losses = engine.create([w.rows], 'f32', 'gptq losses', { zero: true });
  try {
    const gptq: GptqRows = {
      square: hessian.square,
      spec,
      dynamicGroup: map.dynamicGroup,
      w,
      error: matrices.work,
      codes: matrices.codes,
      grid: target.grid,
      groupSize: map.groupSize,
      costs: job.costs,
      groupOfPosition: map.ofPosition,
      groupOf: job.groupOf,
      losses,
    };
    gptqRows(engine, gptq);
    figures.loss =
      factor.diagonalFloor === undefined
        ? await undamped(engine, factor, matrices.work, losses)
        : await quadraticForm(engine, hessian, factor, matrices.work);
    if (target.packedUnrefined !== undefined) {
      pack(engine, job, matrices, target.packedUnrefined);
      refineRows(engine, hessian, gptq, spec.refine);
      figures.refinedLoss = await quadraticForm(engine, hessian, factor, matrices.work);
    }
    pack(engine, job, matrices, target.packed);
    return figures;
  } finally {
    engine.free(losses);
  }
}

async function energyOf(engine: Engine, { hessian, factor }: Curvature, rows: RowsInHand): Promise<number> {
  engine.copy({ from: rows.w, to: rows.matrices.work });
  return quadraticForm(engine, hessian, factor, rows.matrices.work);
}

function pack(engine: Engine, job: RowsJob, matrices: Matrices, packed: Tensor): void {
  engine.packCodes({
    codes: matrices.codes.tensor,
    positionOf: job.positionOf,
    bits: job.spec.bits,
    packed,
  });
}
