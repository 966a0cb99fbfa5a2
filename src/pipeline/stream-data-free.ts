/**
 * Methods that look at nothing but the weights, streamed: panels of rows go from the file to the engine and back while the
 * next panel is read and the last linear is encoded and written. Memory: two panels, their results, and two records (one
 * where they are large), whatever the size of the model.
 */
import { throwIfAborted } from '../core/abort.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import { Bug, FormatError } from '../core/errors.js';
import type { ProgressListener } from '../core/progress.js';
import { CODEBOOK_BLOCK_SIZES } from '../engine/codebook.js';
import type { Engine } from '../engine/engine.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { quantizeCodebookLinear } from '../quant/codebook.js';
import type { QuantSpec } from '../quant/records.js';
import type { FinishedLinear } from './finished-part.js';
import type { PanelGrid } from './panel-quantizer.js';
import { beginRecord, engineArray, panelGrid, PanelQuantizer } from './panel-quantizer.js';
import { PanelReader } from './panel-reader.js';
import type { PanelRange } from './panel-reader.js';
import type { CodebookSpec, LinearJob } from './plan-quantization.js';
import { runAhead } from './run-ahead.js';

export interface StreamDataFreeOptions {
  readonly engine: Engine;
  readonly checkpoint: Checkpoint;
  /** All of them such that `canStream` says yes. */
  readonly linears: readonly LinearJob[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** Weights in a panel, about; default 4 Mi. The result does not depend on it. */
  readonly panelElems?: number;
}

/** 8 MiB of 16-bit weights; a multiple of every block size of the codebooks. */
const PANEL_ELEMS = 2 ** 22;
/** Records of more weights than this are not made while another one is being written. */
const LARGE_LINEAR_ELEMS = 2 ** 26;

/** Whether a linear can be quantized row by row as it is read. */
export function canStream({ spec, inFeatures }: LinearJob): boolean {
  if (!('rule' in spec)) return CODEBOOK_BLOCK_SIZES.some((size) => size === spec.blockSize);
  return spec.method === 'rtn' && spec.perTensor !== true && gridOf(spec, inFeatures) !== undefined;
}

function gridOf(spec: QuantSpec, cols: number): PanelGrid | undefined {
  return spec.range === 'minmax' ? panelGrid(spec, cols, spec.minZero) : undefined;
}

/** The linears in order, quantized. Errors: FormatError, NumericError naming the tensor, DeviceError, AbortError. */
export function streamDataFree(
  options: StreamDataFreeOptions,
): AsyncGenerator<FinishedLinear, void, undefined> {
  return runAhead(
    quantizeAll(options),
    ({ linear }) => linear.outFeatures * linear.inFeatures <= LARGE_LINEAR_ELEMS,
  );
}

async function* quantizeAll(options: StreamDataFreeOptions): AsyncGenerator<FinishedLinear, void, undefined> {
  const { engine, checkpoint, linears, signal, onProgress } = options;
  for (const job of linears) checkShape(checkpoint, job);
  const reader = new PanelReader(checkpoint, allPanels(options), signal);
  const quantizer = new PanelQuantizer(engine, { staging: true });
  const run: Run = { ...options, reader, quantizer };
  try {
    for (const [done, job] of linears.entries()) {
      throwIfAborted(signal);
      onProgress?.({ stage: 'quantize', item: job.name, done, total: linears.length });
      yield 'rule' in job.spec ? await affine(run, job, job.spec) : await codebook(run, job, job.spec);
    }
  } finally {
    quantizer.dispose();
  }
  onProgress?.({ stage: 'quantize', done: linears.length, total: linears.length });
}

interface Run extends StreamDataFreeOptions {
  readonly reader: PanelReader;
  readonly quantizer: PanelQuantizer;
}

function tensorOf({ name }: LinearJob): string {
  return `${name}.weight`;
}

function checkShape(checkpoint: Checkpoint, job: LinearJob): void {
  const { file, shape } = checkpoint.info(tensorOf(job));
  if (shape.length === 2 && shape[0] === job.outFeatures && shape[1] === job.inFeatures) return;
  throw new FormatError(
    `shape [${job.outFeatures}, ${job.inFeatures}] expected, [${shape.join(', ')}] found`,
    {
      file,
      tensor: tensorOf(job),
      advice: 'config.json and the weights belong to different models: fetch both from the same place',
    },
  );
}

/** Elements of one panel: whole rows, or for codebooks, whose blocks run through row ends, whole blocks. */
function panelElems(
  { panelElems: wanted = PANEL_ELEMS, engine }: StreamDataFreeOptions,
  job: LinearJob,
): number {
  const most = Math.min(wanted, Math.floor(engine.maxTensorBytes / 4));
  const unit = 'rule' in job.spec ? job.inFeatures : job.spec.blockSize;
  return Math.max(1, Math.floor(most / unit)) * unit;
}

/** The panels of all linears, in the order they are asked for. */
function* allPanels(options: StreamDataFreeOptions): Generator<PanelRange, void, undefined> {
  for (const job of options.linears) {
    const width = DTYPE_BYTES[job.sourceDType];
    const total = job.outFeatures * job.inFeatures;
    const step = panelElems(options, job);
    for (let first = 0; first < total; first += step)
      yield {
        tensor: tensorOf(job),
        offset: first * width,
        length: Math.min(step, total - first) * width,
      };
  }
}

async function nextPanel({ reader }: Run, job: LinearJob): Promise<Uint8Array> {
  const bytes = await reader.next();
  if (bytes === undefined) throw new Bug(`internal: no panel is left for ${job.name}`);
  return bytes;
}

async function affine(run: Run, job: LinearJob, spec: QuantSpec): Promise<FinishedLinear> {
  const { name, outFeatures, inFeatures, sourceDType: dtype } = job;
  const grid = gridOf(spec, inFeatures);
  if (grid === undefined) throw new Bug(`internal: ${name} cannot be streamed`);
  const progress = beginRecord(job, grid);
  const step = panelElems(run, job) / inFeatures;
  for (let firstRow = 0; firstRow < outFeatures; firstRow += step) {
    throwIfAborted(run.signal);
    const rows = Math.min(step, outFeatures - firstRow);
    const bytes = await nextPanel(run, job);
    const panel = { tensor: tensorOf(job), bytes, dtype, firstRow, rows, cols: inFeatures };
    await run.quantizer.quantize(panel, progress);
  }
  const stats = { refined: 0, groups: inFeatures / grid.groupSize };
  return { kind: 'linear', name, method: 'rtn', linear: progress.record, stats };
}

async function codebook(run: Run, job: LinearJob, spec: CodebookSpec): Promise<FinishedLinear> {
  const { name, outFeatures, inFeatures, sourceDType } = job;
  const { method, blockSize, doubleQuant } = spec;
  const linear = await quantizeCodebookLinear(run.engine, {
    name,
    weight: {
      dtype: engineDType(sourceDType),
      read: async () => {
        throwIfAborted(run.signal);
        const bytes = await nextPanel(run, job);
        return engineArray(bytes, sourceDType).data;
      },
    },
    outFeatures,
    inFeatures,
    codebook: method,
    blockSize,
    doubleQuant,
    runElems: panelElems(run, job),
  });
  const groups = Math.ceil((outFeatures * inFeatures) / blockSize);
  return { kind: 'linear', name, method, linear, stats: { refined: 0, groups } };
}

function engineDType(dtype: LinearJob['sourceDType']): 'f32' | 'f16' | 'bf16' {
  return engineArray(new Uint8Array(0), dtype).dtype;
}
