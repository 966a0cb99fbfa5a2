import { NumericError } from '../core/errors.js';
import type { CodebookLinear, CodebookName } from '../core/quantized-linear.js';
import type { Engine, HostArray } from '../engine/engine.js';
import { readReals } from '../engine/engine.js';
import { TENSOR_DTYPE_BYTES } from '../engine/tensor.js';
import type { DenseDType, Tensor } from '../engine/tensor.js';
import { doubleQuantize, restoreAbsmax } from './double-quantize.js';

/** A matrix that comes run by run, so that it need not be anywhere as a whole. */
export interface DenseRuns {
  readonly dtype: DenseDType;
  /** Elements [first, first + count) of the flattened matrix as `engine.write` takes them; called in ascending order. */
  readonly read: (first: number, count: number) => Promise<HostArray>;
}

export interface QuantizeCodebookOptions {
  /** Module path, for errors. */
  readonly name: string;
  /** [N, K], on the engine or coming run by run. */
  readonly weight: Tensor | DenseRuns;
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  readonly codebook: CodebookName;
  /** One of CODEBOOK_BLOCK_SIZES. */
  readonly blockSize: number;
  readonly doubleQuant: boolean;
  /** Elements quantized at a time, a multiple of blockSize; default 4 Mi. */
  readonly runElems?: number;
}

/** 8 MiB of 16-bit weights. */
const RUN_ELEMS = 2 ** 22;
/** A multiple of every block size. */
const LARGEST_BLOCK = 4096;

/**
 * A matrix as NF4 or FP4 codes with absmax per block, the same bits as bitsandbytes makes of the same elements. Engine
 * memory: one run and its codes (plus the weight, where it lies there); the next run is read while one is quantized.
 * NumericError where a weight is NaN or infinite, or absmax has no finite mean.
 */
export async function quantizeCodebookLinear(
  engine: Engine,
  options: QuantizeCodebookOptions,
): Promise<CodebookLinear> {
  const { outFeatures, inFeatures, codebook, blockSize } = options;
  const count = outFeatures * inFeatures;
  const codes = new Uint8Array(Math.ceil(count / 2));
  const absmax = new Float32Array(Math.ceil(count / blockSize));
  await quantizeRuns(engine, options, codes, absmax);
  checkFinite(options, absmax);
  const record = { kind: 'codebook', outFeatures, inFeatures, codebook, blockSize, codes } as const;
  if (!options.doubleQuant) return { ...record, absmax };
  const nested = doubleQuantize(absmax);
  if (!Number.isFinite(nested.offset))
    throw new NumericError('the largest magnitudes of its blocks have no finite mean', {
      layer: options.name,
      step: 'double quantization',
      advice: 'use --no-double-quant',
    });
  return { ...record, absmax: restoreAbsmax(nested), nested };
}

async function quantizeRuns(
  engine: Engine,
  options: QuantizeCodebookOptions,
  codes: Uint8Array,
  absmax: Float32Array,
): Promise<void> {
  const { name, weight, codebook, blockSize, runElems = RUN_ELEMS } = options;
  const total = options.outFeatures * options.inFeatures;
  const fitting = Math.floor(engine.maxTensorBytes / TENSOR_DTYPE_BYTES.f32 / LARGEST_BLOCK) * LARGEST_BLOCK;
  const size = Math.min(total, runElems, fitting);
  const streamed = 'read' in weight;
  const w = streamed ? engine.create([size], weight.dtype, `${name} run`) : weight;
  const runCodes = engine.create([Math.ceil(size / 2)], 'u8', `${name} codes`);
  const runAbsmax = engine.create([Math.ceil(size / blockSize)], 'f32', `${name} absmax`);
  const next = readAhead(streamed ? weight : undefined, total, size);
  try {
    for (let start = 0; start < total; start += size) {
      const count = Math.min(size, total - start);
      const data = await next(start);
      if (data !== undefined) engine.write(w, data);
      const first = streamed ? 0 : start;
      engine.codebookQuantize({ w, first, count, codebook, blockSize, codes: runCodes, absmax: runAbsmax });
      const made = engine.read(runCodes, 0, Math.ceil(count / 2));
      const scales = readReals(engine, runAbsmax, 0, Math.ceil(count / blockSize));
      codes.set(await made, start / 2);
      absmax.set(await scales, start / blockSize);
    }
  } finally {
    engine.free(runCodes, runAbsmax, ...(streamed ? [w] : []));
  }
}

/** Hands out runs in order; the next one is under way while its predecessor is used. */
function readAhead(
  source: DenseRuns | undefined,
  total: number,
  size: number,
): (first: number) => Promise<HostArray | undefined> {
  if (source === undefined) return () => Promise.resolve(undefined);
  const start = (first: number): Promise<HostArray> | undefined => {
    if (first >= total) return undefined;
    const reading = source.read(first, Math.min(size, total - first));
    // A failure is met when the run's turn comes, or not at all after an earlier one.
    reading.catch(() => undefined);
    return reading;
  };
  let ahead = start(0);
  return async (first) => {
    const data = await ahead;
    ahead = start(first + size);
    return data;
  };
}

function checkFinite({ name, blockSize }: QuantizeCodebookOptions, absmax: Float32Array): void {
  const block = absmax.findIndex((value) => !Number.isFinite(value));
  if (block < 0) return;
  throw new NumericError(`a weight of block ${block} is not finite`, {
    layer: name,
    step: 'quantize',
    index: block * blockSize,
    advice: 'the checkpoint is damaged or its training diverged: use another one',
  });
}
