/**
 * Quantizes one linear layer: W [N, K] and H in, codes, scales, zeros and figures out. Knows no file format and no
 * model. Memory on the engine beyond W, H and the result: about WORK_BYTES (row-chunks.ts), plus the N·K·bits/8 bytes
 * of a second set of codes while refinement is judged.
 */
import { Bug, UserError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { TensorScope } from '../engine/panels.js';
import type { AffineWeight } from '../engine/quant.js';
import type { Tensor } from '../engine/tensor.js';
import { factorError, factorHessian } from './damping-ladder.js';
import type { FactorFailure } from './damping-ladder.js';
import { gptqScratchBytes } from './gptq.js';
import { planGroups } from './group-map.js';
import type { GroupMap } from './group-map.js';
import type { Hessian } from './hessian.js';
import { quantizeRows } from './quantize-rows.js';
import type { Curvature, RowFigures, RowsJob } from './quantize-rows.js';
import type { QuantSpec, QuantStats } from './records.js';
import { planRowChunks, WORK_BYTES } from './row-chunks.js';
import type { RowChunk } from './row-chunks.js';
import { resolveGroupSize, shapeProblems } from './shape.js';

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
  /** Working memory to aim at, bytes; the result does not depend on it. */
  readonly workBytes?: number;
}

export interface QuantizeLinearResult {
  /** Its tensors are the caller's. */
  readonly weight: AffineWeight & { readonly kind: 'affine' };
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
      compare: options.compare !== false,
    };
    const output = createOutput(engine, options, map, result);
    const figures = await quantizeChunks(engine, job, options, output);
    const { weight: chosen, refined } = chooseCodes(engine, output, figures);
    return { weight: chosen, stats: statsOf(job, { figures, failure, refined }), method };
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

interface Output {
  readonly weight: AffineWeight & { readonly kind: 'affine' };
  readonly unrefined: Tensor | undefined;
}

function createOutput(
  engine: Engine,
  options: QuantizeLinearOptions,
  map: GroupMap,
  scope: TensorScope,
): Output {
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
    const { weight, unrefined } = part ?? output;
    try {
      const figures = await quantizeRows(engine, job, chunk, {
        grid: { bits: job.spec.bits, scales: weight.scales, zeros: weight.zeros },
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

type ChunkOutput = Pick<Output, 'unrefined'> & {
  readonly weight: Pick<AffineWeight, 'codes' | 'scales' | 'zeros'>;
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
  };
}

function tensorsOf({ weight, unrefined }: ChunkOutput): Tensor[] {
  const { codes, scales, zeros } = weight;
  return [codes, scales, zeros, ...(unrefined === undefined ? [] : [unrefined])];
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
