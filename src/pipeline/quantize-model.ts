/**
 * The main job: checkpoint in, complete folders out. Everything that can be refused is refused before the first weight is
 * read; then the writers pull tensors one by one and thereby drive the quantization; the folder appears by one rename at
 * the end. Host memory: hidden states of the calibration windows, one quantized linear, one read window.
 */
import { throwIfAborted } from '../core/abort.js';
import { UserError } from '../core/errors.js';
import type { NoticeListener, ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import type { HashingFolder } from '../export/hashing-folder.js';
import { withHashes } from '../export/hashing-folder.js';
import { planItems } from '../export/model-items.js';
import type { ModelItem, ModelWriter, OutputFormat, PlannedWriter } from '../export/output-format.js';
import { createSha256 } from '../export/sha256.js';
import type { ResolvedModel } from '../hub/index.js';
import type { ByteSource } from '../io/byte-source.js';
import type { OutputFolder } from '../io/output-folder.js';
import { writeOutputFolder } from '../io/output-folder.js';
import { subFolder } from '../io/sub-folder.js';
import type { LayerRecord, OutputRecord, QuantizeReport } from '../report/quantize-report.js';
import { makeLayerRecord } from '../report/quantize-report.js';
import type { RunRecord, SourceRecord } from '../report/run-record.js';
import { RUN_RECORD_SCHEMA_VERSION, engineRecord } from '../report/run-record.js';
import { awqReplaced } from './awq-parts.js';
import type { Calibration } from './calibration-windows.js';
import { prepareCalibration } from './calibration-windows.js';
import type { FinishedPart } from './finished-part.js';
import type { OpenedModel } from './open-model.js';
import { openModel, openTokenizer, refuseQuantized } from './open-model.js';
import type { PipelineHost } from './pipeline-host.js';
import type { QuantizationPlan } from './plan-quantization.js';
import { planQuantization } from './plan-quantization.js';
import { quantizeCalibrated } from './quantize-calibrated.js';
import { quantizeDataFree } from './quantize-data-free.js';
import type { QuantizeSettings } from './quantize-settings.js';
import { commandText, flatSettings, isCalibrated } from './quantize-settings.js';
import { createQuantizeRows } from './quantize-table-rows.js';
import { describeSource } from './source-record.js';
import { canStream, streamDataFree } from './stream-data-free.js';
import { streamed } from './streamed-model.js';
import { createStopwatch } from './stopwatch.js';
import type { Stopwatch } from './stopwatch.js';
import { tellLateNotes, writeModel } from './write-model.js';
import { copiedFiles, writeSideFiles } from './write-side-files.js';

export interface CalibrationText {
  /** .txt, or .jsonl with a text field. */
  readonly source: ByteSource;
  /** How halfbyte.json calls it, such as "wiki.txt" or "bundled". */
  readonly label: string;
  /** Left out of the recorded command when true: the text used when none is given. */
  readonly isDefault?: boolean;
}

export interface QuantizeModelOptions {
  readonly model: ResolvedModel;
  readonly engine: Engine;
  readonly settings: QuantizeSettings;
  /** Needed by gptq and awq, unused by the others. */
  readonly calibration?: CalibrationText;
  /** Opens the folder to write to, once it is known how many bytes it will take. */
  readonly openOutput: (expectedBytes: number) => Promise<OutputFolder>;
  readonly host: PipelineHost;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly onNotice?: NoticeListener;
}

/** One format of a run: its writer, and the folder it writes to once that is open. */
export interface PlannedOutput {
  readonly format: OutputFormat;
  readonly writer: PlannedWriter;
}

/** What a run knows before it starts working. */
export interface QuantizeJob {
  readonly options: QuantizeModelOptions;
  readonly opened: OpenedModel;
  readonly plan: QuantizationPlan;
  readonly items: readonly ModelItem[];
  readonly outputs: readonly PlannedOutput[];
  readonly calibration: Calibration | undefined;
  /** Dense tensors that the run changes; undefined but for awq. */
  readonly replaced: ReadonlySet<string> | undefined;
}

/**
 * Quantizes a model into a folder, or into one sub-folder per format. The same settings, model, text and adapter give the
 * same bytes.
 *
 * Errors: UserError for settings that do not fit the model (listing all linears concerned), FormatError for damaged files,
 * NumericError naming layer and step, DeviceError, AbortError. On any of them nothing is left behind.
 */
export async function quantizeModel(options: QuantizeModelOptions): Promise<QuantizeReport> {
  const { engine, host } = options;
  const clock = createStopwatch(() => performance.now());
  engine.resetPeak();
  clock.begin('plan');
  const job = await planJob(options);
  for (const note of new Set(job.outputs.flatMap(({ writer }) => writer.notes))) options.onNotice?.(note);
  const expectedBytes = job.outputs.reduce((sum, { writer }) => sum + writer.expectedBytes, 0);
  const folder = await options.openOutput(expectedBytes);
  const createHasher = host.createHasher ?? createSha256;
  let written: Written = { layers: [], notes: [] };
  const out = await writeOutputFolder(folder, async () => {
    clock.begin('hash');
    const source = await describeSource({ ...options, opened: job.opened, createHasher });
    clock.begin('quantize');
    const folders = job.outputs.map(({ format }) =>
      withHashes(job.outputs.length === 1 ? folder : subFolder(folder, format.name), createHasher),
    );
    written = await writeWeights(job, folders);
    clock.begin('finish');
    for (const [i, { format, writer }] of job.outputs.entries())
      await writeSideFiles({
        opened: job.opened,
        format,
        weightBytes: writer.expectedBytes,
        folder: folders[i],
        record: makeRecord(job, i, { source, ...written }),
        signal: options.signal,
      });
    throwIfAborted(options.signal);
  });
  clock.stop();
  return makeReport(job, { out, clock, ...written });
}

async function planJob(options: QuantizeModelOptions): Promise<QuantizeJob> {
  const { engine, settings, signal, model } = options;
  const opened = await openModel(model, signal);
  refuseQuantized(opened);
  const { config, checkpoint } = opened;
  const plan = planQuantization({ config, checkpoint, settings, maxTensorBytes: engine.maxTensorBytes });
  const quantized = new Set(plan.linears.map(({ name }) => `${name}.weight`));
  const dense = [...checkpoint.tensors.values()].filter(({ name }) => !quantized.has(name));
  const items = planItems(dense, plan.linears);
  const modelToWrite = {
    config,
    configJson: opened.configJson,
    configText: opened.configText,
    items,
    skipped: plan.skipped.map(({ name }) => name),
    sideFiles: copiedFiles(opened.files),
    name: model.name,
    settings: flatSettings(settings, plan.grid),
    toolVersion: options.host.version,
    maxShardBytes: settings.maxShardBytes,
    quantizeRows: createQuantizeRows(engine),
    signal,
  };
  const outputs: PlannedOutput[] = [];
  for (const format of plan.formats) outputs.push({ format, writer: await format.plan(modelToWrite) });
  const calibration = await readCalibration(options, opened);
  const names = new Set(plan.linears.map(({ name }) => name));
  const replaced = settings.method === 'awq' ? awqReplaced(config, names) : undefined;
  return { options, opened, plan, items, outputs, calibration, replaced };
}

async function readCalibration(
  options: QuantizeModelOptions,
  opened: OpenedModel,
): Promise<Calibration | undefined> {
  const { settings, calibration, signal, onNotice } = options;
  if (!isCalibrated(settings.method)) return undefined;
  if (calibration === undefined)
    throw new UserError(`${settings.method} needs a calibration text`, {
      advice: 'pass `calibration`, or use method rtn',
    });
  return prepareCalibration({
    text: calibration.source,
    label: calibration.label,
    tokenizer: await openTokenizer(opened, signal),
    config: opened.config,
    settings,
    signal,
    onNotice,
  });
}

interface Written {
  readonly layers: readonly LayerRecord[];
  /** Of each output, what its writer found while writing included. */
  readonly notes: readonly (readonly string[])[];
}

async function writeWeights(job: QuantizeJob, folders: readonly HashingFolder[]): Promise<Written> {
  const { options, opened, items, outputs, replaced } = job;
  const layers: LayerRecord[] = [];
  const writers: ModelWriter[] = [];
  for (const [i, { writer }] of outputs.entries()) writers.push(await writer.open(folders[i]));
  await writeModel({
    items,
    writers,
    checkpoint: opened.checkpoint,
    ...(replaced === undefined ? {} : { replaced }),
    parts: produceParts(job),
    onLinear: (part) => layers.push(makeLayerRecord(part)),
    signal: options.signal,
  });
  tellLateNotes(
    outputs.map(({ writer }) => writer),
    writers,
    options.onNotice,
  );
  return { layers, notes: writers.map(({ notes }) => notes) };
}

function produceParts(job: QuantizeJob): AsyncGenerator<FinishedPart, void, undefined> {
  const { options, opened, plan, calibration, items, replaced } = job;
  const { engine, signal, onProgress } = options;
  const { source, config } = streamed(opened, engine, signal);
  const common = { engine, source, linears: plan.linears, signal, onProgress };
  if (calibration === undefined) {
    const { checkpoint } = opened;
    return plan.linears.every(canStream)
      ? streamDataFree({ ...common, checkpoint })
      : quantizeDataFree(common);
  }
  return quantizeCalibrated({
    ...common,
    config,
    windows: calibration.windows,
    ...(replaced === undefined ? {} : { awq: { items, replaced } }),
  });
}

function makeRecord(
  job: QuantizeJob,
  index: number,
  { source, layers, notes }: Written & { readonly source: SourceRecord },
): Omit<RunRecord, 'files'> {
  const { options, plan, calibration, outputs } = job;
  const { format, writer } = outputs[index];
  const { settings, engine, host } = options;
  const text = options.calibration;
  return {
    schemaVersion: RUN_RECORD_SCHEMA_VERSION,
    tool: { name: 'halfbyte', version: host.version },
    command: commandText({
      model: source.revision === null ? source.model : `${source.model}@${source.revision}`,
      settings,
      formats: outputs.map((output) => output.format.name),
      grid: plan.grid,
      calibration: text?.isDefault === true ? undefined : text?.label,
    }),
    format: format.name,
    notes: notes[index],
    source,
    settings: flatSettings(settings, plan.grid),
    calibration: calibration?.record ?? null,
    engine: engineRecord(engine.info),
    bitsPerWeight: writer.bitsPerWeight,
    layers,
    skipped: plan.skipped,
  };
}

interface Outcome extends Written {
  readonly out: string;
  readonly clock: Stopwatch;
}

function makeReport(job: QuantizeJob, { out, layers, notes, clock }: Outcome): QuantizeReport {
  const { options, plan, outputs } = job;
  const { engine, host, settings } = options;
  const written: OutputRecord[] = outputs.map(({ format, writer }, i) => ({
    format: format.name,
    out: outputs.length === 1 ? out : `${out}/${format.name}`,
    bytes: writer.expectedBytes,
    bitsPerWeight: writer.bitsPerWeight,
    notes: notes[i],
  }));
  return {
    out,
    method: settings.method,
    bitsPerWeight: written[0].bitsPerWeight,
    bytes: written.reduce((total, { bytes }) => total + bytes, 0),
    seconds: clock.totalSeconds(),
    layers,
    skipped: plan.skipped,
    peakGpuBytes: engine.memory().peakBytes,
    peakRssBytes: host.peakRssBytes?.() ?? null,
    adapter: engine.info.adapter,
    outputs: written,
    engine: engine.info,
    stages: clock.stages,
  };
}
