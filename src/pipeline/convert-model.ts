/** The codes of a quantized model in another format: packed anew, not computed anew, unless that is asked for. */
import type { CastTarget } from '../core/cast-elements.js';
import { castElements } from '../core/cast-elements.js';
import { dequantizeLinear } from '../core/dequantize-linear.js';
import { UserError } from '../core/errors.js';
import type { NoticeListener, ProgressListener } from '../core/progress.js';
import type { QuantizedLinear } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import { withoutKeys } from '../export/config-text.js';
import { outputFormat } from '../export/formats/index.js';
import { withHashes } from '../export/hashing-folder.js';
import { planItems } from '../export/model-items.js';
import type {
  FormatName,
  ModelItem,
  ModelToWrite,
  PlannedDense,
  PlannedLinear,
  QuantizeRows,
} from '../export/output-format.js';
import { createSha256 } from '../export/sha256.js';
import type { ResolvedModel } from '../hub/index.js';
import { bytesOf } from '../io/byte-views.js';
import type { OutputFolder } from '../io/output-folder.js';
import { writeOutputFolder } from '../io/output-folder.js';
import type { LayerRecord } from '../report/quantize-report.js';
import { makeLayerRecord } from '../report/quantize-report.js';
import type { RunRecord } from '../report/run-record.js';
import { RUN_RECORD_SCHEMA_VERSION, engineRecord } from '../report/run-record.js';
import type { FinishedPart } from './finished-part.js';
import type { OpenedModel } from './open-model.js';
import { openModel } from './open-model.js';
import type { PipelineHost } from './pipeline-host.js';
import type { Conversion } from './plan-conversion.js';
import { planConversions } from './plan-conversion.js';
import { createQuantizeRows } from './quantize-table-rows.js';
import { requantize } from './requantize.js';
import { describeSource } from './source-record.js';
import { tellLateNotes, writeModel } from './write-model.js';
import { copiedFiles, writeSideFiles } from './write-side-files.js';

export interface ConvertModelOptions {
  readonly model: ResolvedModel;
  readonly to: FormatName;
  /** Rounds codes onto a grid of the target where it cannot hold theirs. Default: such a conversion is refused. */
  readonly requantize?: boolean;
  /** Computes where something must be quantized: tables of GGUF, and `requantize`. */
  readonly engine: Engine;
  readonly maxShardBytes?: number;
  readonly openOutput: (expectedBytes: number) => Promise<OutputFolder>;
  readonly host: PipelineHost;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly onNotice?: NoticeListener;
}

/** What `convert --json` prints. */
export interface ConvertReport {
  readonly out: string;
  readonly from: string;
  readonly to: FormatName;
  /** Bytes of the weight files. */
  readonly bytes: number;
  readonly bitsPerWeight: number;
  /** Modules whose codes were taken over as they are. */
  readonly kept: number;
  /** Modules rounded anew; empty for a lossless conversion. */
  readonly requantized: readonly string[];
  /** Modules written as plain numbers, because the target has no codes for them. */
  readonly expanded: readonly string[];
  /** What a loader will not read or does differently, and what rounding cost beyond the codes. */
  readonly notes: readonly string[];
}

interface ConvertJob {
  readonly options: ConvertModelOptions;
  readonly opened: OpenedModel;
  readonly conversions: readonly Conversion[];
  readonly model: ModelToWrite;
  /** Dtype of modules that become plain numbers. */
  readonly plainDType: CastTarget;
}

const QUANTIZATION_KEYS = ['quantization_config', 'quantization'];
const ROWS_AT_A_TIME = 256;

/**
 * Errors: UserError where the target cannot hold a grid exactly, listing the formats that can; FormatError for damaged
 * input. Nothing is left behind then. Memory: one linear, twice.
 */
export async function convertModel(options: ConvertModelOptions): Promise<ConvertReport> {
  const { to, host, signal } = options;
  const format = outputFormat(to);
  const job = await planJob(options);
  const writer = await format.plan(job.model);
  for (const note of writer.notes) options.onNotice?.(note);
  const createHasher = host.createHasher ?? createSha256;
  const folder = withHashes(await options.openOutput(writer.expectedBytes), createHasher);
  const layers: LayerRecord[] = [];
  let notes = writer.notes;
  const out = await writeOutputFolder(folder, async () => {
    const opened = await writer.open(folder);
    await writeModel({
      items: job.model.items,
      writers: [opened],
      checkpoint: job.opened.checkpoint,
      replaced: new Set(modulesOf(job, 'expand').map((module) => `${module}.weight`)),
      parts: convertParts(job),
      onLinear: (part) => layers.push(makeLayerRecord(part)),
      signal,
    });
    const source = await describeSource({ ...options, opened: job.opened, createHasher });
    tellLateNotes([writer], [opened], options.onNotice);
    notes = opened.notes;
    const { bitsPerWeight } = writer;
    const record = makeRecord(job, { notes, bitsPerWeight, source, layers });
    const weightBytes = writer.expectedBytes;
    await writeSideFiles({ opened: job.opened, format, weightBytes, folder, record, signal });
  });
  return {
    out,
    from: job.opened.quantized?.format ?? 'hf',
    to,
    bytes: writer.expectedBytes,
    bitsPerWeight: writer.bitsPerWeight,
    kept: modulesOf(job, 'keep').length,
    requantized: modulesOf(job, 'requantize'),
    expanded: modulesOf(job, 'expand'),
    notes,
  };
}

function modulesOf({ conversions }: ConvertJob, kind: Conversion['plan']['kind']): string[] {
  return conversions.filter(({ plan }) => plan.kind === kind).map(({ module }) => module);
}

async function planJob(options: ConvertModelOptions): Promise<ConvertJob> {
  const { model, to, engine, host, signal } = options;
  const opened = await openModel(model, signal);
  const format = outputFormat(to);
  const { quantized, config, configText, configJson } = opened;
  if (quantized === undefined && format.holdsPlain !== true)
    throw new UserError(`${model.name} is not quantized, so there are no codes to write as ${to}`, {
      advice: `quantize it: halfbyte quantize MODEL --method rtn --format ${to}`,
    });
  const conversions =
    quantized === undefined
      ? []
      : await planConversions({ quantized, format, requantize: options.requantize === true, signal });
  const plainDType = modelDType(configJson);
  const toWrite: ModelToWrite = {
    config,
    configText: withoutKeys(configText, configJson, QUANTIZATION_KEYS),
    configJson: Object.fromEntries(
      Object.entries(configJson).filter(([key]) => !QUANTIZATION_KEYS.includes(key)),
    ),
    items: convertedItems(opened, conversions, plainDType),
    skipped: [],
    sideFiles: copiedFiles(opened.files),
    name: opened.name,
    settings: { method: quantized?.format ?? 'none' },
    toolVersion: host.version,
    maxShardBytes: options.maxShardBytes,
    quantizeRows: createQuantizeRows(engine),
    signal,
  };
  return { options, opened, conversions, model: toWrite, plainDType };
}

function convertedItems(
  { checkpoint, quantized }: OpenedModel,
  conversions: readonly Conversion[],
  plainDType: CastTarget,
): readonly ModelItem[] {
  const dense: PlannedDense[] = [...checkpoint.tensors.values()].filter(
    ({ name }) => quantized?.packing.has(name) !== true,
  );
  const linears: PlannedLinear[] = [];
  for (const { module, shape, grid, plan } of conversions)
    if (plan.kind === 'expand')
      dense.push({
        name: `${module}.weight`,
        dtype: plainDType,
        shape: [shape.outFeatures, shape.inFeatures],
      });
    else linears.push({ name: module, ...shape, grid, sourceDType: plainDType });
  return planItems(dense, linears);
}

/** The dtype in which a model's plain tensors are written: config.json's, else bfloat16. */
function modelDType(config: OpenedModel['configJson']): CastTarget {
  const name = config.dtype ?? config.torch_dtype;
  return name === 'float16' ? 'F16' : name === 'float32' ? 'F32' : 'BF16';
}

async function* convertParts({
  options,
  opened,
  conversions,
  model,
  plainDType,
}: ConvertJob): AsyncGenerator<FinishedPart, void, undefined> {
  const { signal, onProgress } = options;
  const { quantized } = opened;
  if (quantized === undefined) return;
  const planOf = new Map(conversions.map(({ module, plan }) => [module, plan]));
  let done = 0;
  for (const item of model.items) {
    const module = item.kind === 'linear' ? item.linear.name : item.tensor.name.replace(/\.weight$/, '');
    const plan = planOf.get(module);
    if (plan === undefined || (item.kind === 'dense' && item.tensor.name !== `${module}.weight`)) continue;
    onProgress?.({ stage: 'convert', item: module, done: done++, total: conversions.length });
    const record = await quantized.read(module, signal);
    if (plan.kind === 'expand')
      yield { kind: 'dense', name: `${module}.weight`, bytes: expandRows(record, plainDType) };
    else
      yield finishedLinear(
        module,
        await packAnew(record, plan, { engine: options.engine, ...model }),
        plan.kind,
      );
  }
  onProgress?.({ stage: 'convert', done: conversions.length, total: conversions.length });
}

async function packAnew(
  record: QuantizedLinear,
  plan: Conversion['plan'],
  means: { readonly engine: Engine; readonly quantizeRows: QuantizeRows },
): Promise<QuantizedLinear> {
  return plan.kind === 'requantize' ? requantize(record, plan.spec, means) : record;
}

function finishedLinear(name: string, linear: QuantizedLinear, kind: 'keep' | 'requantize'): FinishedPart {
  const hasGroups = linear.kind === 'affine' || linear.kind === 'affine-min';
  const groups = hasGroups ? linear.scales.length / linear.outFeatures : 0;
  const method = kind === 'keep' ? 'taken over' : 'rtn';
  return { kind: 'linear', name, method, linear, stats: { refined: 0, groups } };
}

function* expandRows(record: QuantizedLinear, to: CastTarget): Generator<Uint8Array, void, undefined> {
  for (let first = 0; first < record.outFeatures; first += ROWS_AT_A_TIME) {
    const rows = Math.min(ROWS_AT_A_TIME, record.outFeatures - first);
    yield castElements(bytesOf(dequantizeLinear(record, { first, rows })), 'F32', to);
  }
}

function makeRecord(
  job: ConvertJob,
  facts: Pick<RunRecord, 'notes' | 'bitsPerWeight' | 'source' | 'layers'>,
): Omit<RunRecord, 'files'> {
  const { options, model } = job;
  const flag = options.requantize === true ? ' --requantize' : '';
  return {
    schemaVersion: RUN_RECORD_SCHEMA_VERSION,
    tool: { name: 'halfbyte', version: options.host.version },
    command: `halfbyte convert ${facts.source.model} --to ${options.to} --out DIR${flag}`,
    format: options.to,
    settings: { ...model.settings, requantize: options.requantize === true },
    calibration: null,
    engine: modulesOf(job, 'requantize').length > 0 ? engineRecord(options.engine.info) : null,
    skipped: [],
    notes: facts.notes,
    bitsPerWeight: facts.bitsPerWeight,
    source: facts.source,
    layers: facts.layers,
  };
}
