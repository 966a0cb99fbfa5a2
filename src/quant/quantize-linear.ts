/**
 * Quantizes one linear layer: W [N, K] and H in, codes, scales, zeros and figures out. Knows no file format and no
 * model. Memory on the engine beyond W, H and the result: about WORK_BYTES (row-chunks.ts), plus the N·K·bits/8 bytes
 * of a second set of codes while refinement is judged.
 */
import { Bug, UserError } from '../core/errors.js';
import { SUPER_BLOCK } from '../core/quantized-linear.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { TensorScope } from '../engine/panels.js';
import type { Tensor } from '../engine/tensor.js';
import { readPivots } from './factor.js';
import type { Factor } from './factor.js';
import { factorError, factorHessian } from './damping-ladder.js';
import type { FactorFailure } from './damping-ladder.js';
import { gptqScratchBytes } from './gptq.js';
import { planGroups } from './group-map.js';
import type { GroupGrid } from './fixed-grid.js';
import type { GroupMap } from './group-map.js';
import type { Hessian } from './hessian.js';
import { quantizeRows } from './quantize-rows.js';
import type { Curvature, RowFigures, RowsJob } from './quantize-rows.js';
import { isKQuant, usesImportance } from './range-groups.js';
import type { QuantizedWeight, QuantSpec, QuantStats } from './records.js';
import { planRowChunks, WORK_BYTES } from './row-chunks.js';
import type { RowChunk } from './row-chunks.js';
import { resolveGroupSize, shapeProblems } from './shape.js';
import { tensorRange } from './tensor-range.js';

/** Refined codes whose loss is above the unrefined by more than this share are thrown away: more is not rounding. */
const LOSS_NOISE = 1e-6;

export interface QuantizeLinearOptions {
  /** Module path in the checkpoint, for errors. */
  readonly name: string;
  /** Dense; stays the caller's. */
  readonly weight: LinearWeight;
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  /** Needed by gptq; with rtn it only serves the figures. May be put into another order and factored; stays the caller's. */
  readonly hessian?: Hessian;
  readonly spec: QuantSpec;
  /** Round to nearest where no damping makes H factorable; the result says so in `method`. */
  readonly allowRtnFallback?: boolean;
  /** Also work out rtnLoss and relativeOutputError (two thirds of the matrix products). Default true. */
  readonly compare?: boolean;
  /** For rtn: scales and zeros to round onto, in place of ranges of its own. */
  readonly grid?: GroupGrid;
  /** Working memory to aim at, bytes; the result does not depend on it. */
  readonly workBytes?: number;
}

export interface QuantizeLinearResult {
  /** Its tensors are the caller's. */
  readonly weight: QuantizedWeight;
  readonly stats: QuantStats;
  /** What was done, after any fallback. */
  readonly method: 'gptq' | 'rtn';
}

/**
 * Errors: UserError listing every shape problem; NumericError naming the layer for weights that are not finite and for
 * a Hessian that no damping makes positive definite.
 */
export async function quantizeLinear(
  engine: Engine,
  options: QuantizeLinearOptions,
): Promise<QuantizeLinearResult> {
  const { name, spec, inFeatures, hessian } = options;
  const weight = checkOptions(engine, options);
  const groupSize = resolveGroupSize(spec, inFeatures);
  const found = hessian === undefined ? undefined : await factorHessian(engine, hessian, spec, groupSize);
  const failure = found?.kind === 'failure' ? found : undefined;
  if (failure !== undefined && spec.method === 'gptq' && options.allowRtnFallback !== true)
    throw factorError(name, failure);
  const curvature: Curvature | undefined =
    hessian !== undefined && found?.kind === 'factor' ? { hessian, factor: found } : undefined;
  const method = curvature === undefined ? 'rtn' : spec.method;
  const map = planGroups({ ...spec, method }, inFeatures, groupSize, curvature?.hessian.order);
  const scope = new TensorScope(engine);
  const result = new TensorScope(engine);
  try {
    const indices = (data: Uint32Array, label: string): Tensor =>
      engine.upload(data, [inFeatures], 'u32', `${name} ${label}`);
    const job: RowsJob = {
      name,
      weight,
      columns: inFeatures,
      spec,
      method,
      curvature,
      map,
      groupOf: scope.own(indices(map.ofPosition, 'groups')),
      rtnGroupOf: scope.own(indices(map.rtnOfPosition, 'rtn groups')),
      positionOf: scope.own(indices(map.positionOf, 'positions')),
      costs: await columnCosts(
        engine,
        scope,
        spec,
        method === 'gptq' ? curvature?.factor : undefined,
        inFeatures,
      ),
      fixedGrid:
        options.grid ?? (spec.perTensor === true ? await tensorRange(engine, weight, spec) : undefined),
      compare: options.compare !== false,
    };
    const blocks = createBlocks(options, scope);
    const output = { ...createOutput(engine, options, map, result), blocks };
    const figures = await quantizeChunks(engine, job, options, output);
    const { weight: chosen, refined } = chooseCodes(engine, output, figures);
    const superBlocks = blocks === undefined ? {} : { superBlocks: await readBlocks(engine, blocks) };
    return {
      weight: { ...chosen, ...superBlocks },
      stats: statsOf(job, { figures, failure, refined }),
      method,
    };
  } catch (error) {
    result.dispose();
    throw error;
  } finally {
    scope.dispose();
  }
}

function checkOptions(engine: Engine, options: QuantizeLinearOptions): Tensor {
  const { name, weight, outFeatures, inFeatures, hessian, spec } = options;
  const problems = shapeProblems(spec, options, engine.maxTensorBytes);
  if (problems.length > 0)
    throw new UserError(
      `${name} [${outFeatures}, ${inFeatures}] cannot be quantized: ${problems.join('; ')}`,
      {
        advice: 'use another --group-size, or --skip-unsupported to leave such layers in 16-bit',
      },
    );
  if (weight.kind !== 'dense') throw new Bug(`internal: ${name} is on a grid already`);
  const [rows, columns] = weight.tensor.shape;
  if (rows !== outFeatures || columns !== inFeatures)
    throw new Bug(`internal: ${name} is [${rows}, ${columns}], not [${outFeatures}, ${inFeatures}]`);
  if (hessian !== undefined && hessian.square.size !== inFeatures)
    throw new Bug(`internal: ${name} has ${inFeatures} inputs, its Hessian ${hessian.square.size}`);
  if (hessian === undefined && spec.method === 'gptq')
    throw new Bug(`internal: ${name} is to be quantized by gptq without a Hessian`);
  return weight.tensor;
}

/** L[j,j]²: what an error in column j costs while the later columns can still make up for it. */
async function columnCosts(
  engine: Engine,
  scope: TensorScope,
  spec: QuantSpec,
  factor: Factor | undefined,
  columns: number,
): Promise<Tensor | undefined> {
  if (factor === undefined || !usesImportance(spec)) return undefined;
  const pivots = await readPivots(engine, factor, columns);
  return scope.own(
    engine.upload(
      pivots.map((pivot) => pivot * pivot),
      [columns],
      'f32',
      'column costs',
    ),
  );
}

interface Output {
  readonly weight: QuantizedWeight;
  readonly unrefined: Tensor | undefined;
  /** As in GridTensors. */
  readonly blocks: Tensor | undefined;
}

function createBlocks(options: QuantizeLinearOptions, scope: TensorScope): Tensor | undefined {
  const { name, outFeatures, inFeatures, spec } = options;
  if (!isKQuant(spec.rule)) return undefined;
  return scope.create([outFeatures, (2 * inFeatures) / SUPER_BLOCK], `${name} super-blocks`);
}

async function readBlocks(engine: Engine, blocks: Tensor): Promise<Float32Array> {
  return Float32Array.from(await readReals(engine, blocks));
}

function createOutput(
  engine: Engine,
  options: QuantizeLinearOptions,
  map: GroupMap,
  scope: TensorScope,
): Omit<Output, 'blocks'> {
  const { name, outFeatures, inFeatures, spec } = options;
  const words = (inFeatures * spec.bits) / 32;
  const codes = (label: string): Tensor =>
    scope.own(engine.create([outFeatures, words], 'u32', `${name} ${label}`));
  return {
    weight: {
      kind: 'affine',
      bits: spec.bits,
      outFeatures,
      inFeatures,
      codes: codes('codes'),
      scales: scope.create([outFeatures, map.groups], `${name} scales`),
      zeros: scope.create([outFeatures, map.groups], `${name} zeros`),
      groupOf: scope.own(engine.upload(map.ofColumn, [inFeatures], 'u32', `${name} g_idx`)),
    },
    unrefined: spec.method === 'gptq' && spec.refine > 0 ? codes('unrefined codes') : undefined,
  };
}

/** All chunks of rows, one after another, into `output`; figures summed over them. */
async function quantizeChunks(
  engine: Engine,
  job: RowsJob,
  options: QuantizeLinearOptions,
  output: Output,
): Promise<RowFigures> {
  const chunks = planRowChunks(options.outFeatures, bytesPerRow(job), job.columns, {
    workBytes: options.workBytes ?? WORK_BYTES,
    maxTensorBytes: engine.maxTensorBytes,
  });
  const totals: RowFigures = {};
  for (const chunk of chunks) {
    const part = chunks.length === 1 ? undefined : createChunkOutput(engine, options, output, chunk);
    const { weight, unrefined, blocks } = part ?? output;
    try {
      const figures = await quantizeRows(engine, job, chunk, {
        grid: { bits: job.spec.bits, scales: weight.scales, zeros: weight.zeros, blocks },
        packed: weight.codes,
        packedUnrefined: unrefined,
      });
      addFigures(totals, figures);
      if (part !== undefined) await copyChunk(engine, chunk, part, output);
    } finally {
      if (part !== undefined) engine.free(...tensorsOf(part));
    }
  }
  return totals;
}

function bytesPerRow({ columns, map, spec }: RowsJob): number {
  const work = columns * 4;
  const codes = columns * (1 + (spec.bits / 8) * 2);
  const arranged = columns * 4;
  return work + codes + arranged + gptqScratchBytes(columns, map.dynamicGroup) + map.groups * 16;
}

type ChunkOutput = Pick<Output, 'unrefined' | 'blocks'> & {
  readonly weight: Pick<QuantizedWeight, 'codes' | 'scales' | 'zeros'>;
};

function createChunkOutput(
  engine: Engine,
  options: QuantizeLinearOptions,
  output: Output,
  { rows }: RowChunk,
): ChunkOutput {
  const like = (whole: Tensor): Tensor =>
    engine.create([rows, whole.shape[1]], whole.dtype, `${options.name} rows`);
  const { codes, scales, zeros } = output.weight;
  return {
    weight: { codes: like(codes), scales: like(scales), zeros: like(zeros) },
    unrefined: output.unrefined === undefined ? undefined : like(output.unrefined),
    blocks: output.blocks === undefined ? undefined : like(output.blocks),
  };
}

function tensorsOf({ weight, unrefined, blocks }: ChunkOutput): Tensor[] {
  const { codes, scales, zeros } = weight;
  return [codes, scales, zeros, unrefined, blocks].filter((tensor) => tensor !== undefined);
}

/** By way of the host: the contract has no copy of integers, and these are small. */
async function copyChunk(
  engine: Engine,
  { first }: RowChunk,
  part: ChunkOutput,
  output: ChunkOutput,
): Promise<void> {
  const targets = tensorsOf(output);
  for (const [i, tensor] of tensorsOf(part).entries())
    engine.write(targets[i], await engine.read(tensor), first * tensor.shape[1]);
}

function addFigures(totals: RowFigures, figures: RowFigures): void {
  for (const key of ['energy', 'rtnLoss', 'loss', 'refinedLoss'] as const) {
    const value = figures[key];
    if (value !== undefined) totals[key] = (totals[key] ?? 0) + value;
  }
}

/** Keeps the refined codes unless their loss rose, and frees the others. */
function chooseCodes(
  engine: Engine,
  { weight, unrefined }: Output,
  { loss, refinedLoss }: RowFigures,
): { readonly weight: Output['weight']; readonly refined: boolean } {
  if (unrefined === undefined) return { weight, refined: false };
  const refined = loss !== undefined && refinedLoss !== undefined && refinedLoss <= loss * (1 + LOSS_NOISE);
  engine.free(refined ? unrefined : weight.codes);
  return { weight: refined ? weight : { ...weight, codes: unrefined }, refined };
}

function statsOf(
  job: RowsJob,
  outcome: {
    readonly figures: RowFigures;
    readonly failure: FactorFailure | undefined;
    readonly refined: boolean;
  },
): QuantStats {
  const { figures, failure, refined } = outcome;
  const { curvature, map, spec } = job;
  const base = { refined: refined ? spec.refine : 0, groups: map.groups };
  if (curvature === undefined)
    return failure === undefined ? base : { ...base, dampTried: failure.dampTried };
  const { factor, hessian } = curvature;
  const loss = refined ? figures.refinedLoss : figures.loss;
  const { energy, rtnLoss } = figures;
  return {
    ...base,
    ...(loss === undefined ? {} : { loss }),
    ...(rtnLoss === undefined ? {} : { rtnLoss }),
    ...(loss === undefined || energy === undefined
      ? {}
      : { relativeOutputError: energy > 0 ? loss / energy : 0 }),
    damp: factor.damp,
    dampTried: factor.dampTried,
    ...(factor.diagonalFloor === undefined ? {} : { diagonalFloor: factor.diagonalFloor }),
    deadColumns: hessian.dead.length,
  };
}
