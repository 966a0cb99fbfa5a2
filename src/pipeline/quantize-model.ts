/**
 * The main job: checkpoint in, complete GPTQ folder out. Everything that can be refused is refused before the first
 * weight is read; then the shard writer pulls tensors one by one and thereby drives the quantization; the folder appears
 * by one rename at the end. Host memory: hidden states of the calibration windows, one quantized linear, one read window.
 */
import { throwIfAborted } from '../core/abort.js';
import { UserError } from '../core/errors.js';
import type { NoticeListener, ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import { planOutput } from '../export/output-plan.js';
import type { PlannedOutput } from '../export/output-plan.js';
import { checkpointFormat } from '../export/quantization-config.js';
import type { HashingFolder } from '../export/hashing-folder.js';
import { withHashes } from '../export/hashing-folder.js';
import { createSha256 } from '../export/sha256.js';
import type { ShardPlan } from '../formats/safetensors/shard-plan.js';
import { planShards } from '../formats/safetensors/shard-plan.js';
import { writeShards } from '../formats/safetensors/write-shards.js';
import type { ResolvedModel } from '../hub/index.js';
import type { ByteSource } from '../io/byte-source.js';
import type { OutputFolder } from '../io/output-folder.js';
import { writeOutputFolder } from '../io/output-folder.js';
import type { LayerRecord, QuantizeReport } from '../report/quantize-report.js';
import { makeLayerRecord } from '../report/quantize-report.js';
import type { Calibration } from './calibration-windows.js';
import { prepareCalibration } from './calibration-windows.js';
import { loaderNotes } from './loader-notes.js';
import type { OpenedModel } from './open-model.js';
import { openModel, openTokenizer, refuseQuantized } from './open-model.js';
import type { PipelineHost } from './pipeline-host.js';
import type { QuantizationPlan } from './plan-quantization.js';
import { planQuantization } from './plan-quantization.js';
import { quantizeCalibrated } from './quantize-calibrated.js';
import { quantizeDataFree } from './quantize-data-free.js';
import type { QuantizeSettings } from './quantize-settings.js';
import type { FinishedLinear } from './quantized-linears.js';
import { describeSource } from './source-record.js';
import { streamed } from './streamed-model.js';
import { createStopwatch } from './stopwatch.js';
import type { Stopwatch } from './stopwatch.js';
import { createTensorFeed } from './tensor-feed.js';
import { writeSideFiles } from './write-side-files.js';

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
  /** Needed by gptq, unused by rtn. */
  readonly calibration?: CalibrationText;
  /** Opens the folder to write to, once it is known how many bytes it will take. */
  readonly openOutput: (expectedBytes: number) => Promise<OutputFolder>;
  readonly host: PipelineHost;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly onNotice?: NoticeListener;
}

/** What a run knows before it starts working. */
export interface QuantizeJob {
  readonly options: QuantizeModelOptions;
  readonly opened: OpenedModel;
  readonly plan: QuantizationPlan;
  readonly outputs: readonly PlannedOutput[];
  readonly shards: ShardPlan;
  readonly calibration: Calibration | undefined;
}

/**
 * Quantizes a model into a folder that GPTQ loaders read. The same settings, model, text and adapter give the same bytes.
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
  noteLoaders(job);
  const folder = withHashes(
    await options.openOutput(job.shards.fileBytes),
    host.createHasher ?? createSha256,
  );
  const layers: LayerRecord[] = [];
  const out = await writeOutputFolder(folder, async () => {
    clock.begin('hash');
    const source = await describeSource({
      ...options,
      opened: job.opened,
      createHasher: host.createHasher ?? createSha256,
    });
    clock.begin('quantize');
    layers.push(...(await writeWeights(job, folder)));
    clock.begin('finish');
    await writeSideFiles({ job, folder, source, layers });
    throwIfAborted(options.signal);
  });
  clock.stop();
  return makeReport(job, { out, layers, clock });
}

async function planJob(options: QuantizeModelOptions): Promise<QuantizeJob> {
  const { engine, settings, signal } = options;
  const opened = await openModel(options.model, signal);
  refuseQuantized(opened);
  const { config, checkpoint } = opened;
  const plan = planQuantization({ config, checkpoint, settings, maxTensorBytes: engine.maxTensorBytes });
  const outputs = planOutput(checkpoint.tensors.values(), plan.linears);
  const shards = planShards(
    outputs,
    settings.maxShardBytes === undefined ? {} : { maxShardBytes: settings.maxShardBytes },
  );
  const calibration = await readCalibration(options, opened);
  return { options, opened, plan, outputs, shards, calibration };
}

async function readCalibration(
  options: QuantizeModelOptions,
  opened: OpenedModel,
): Promise<Calibration | undefined> {
  const { settings, calibration, signal, onNotice } = options;
  if (settings.spec.method === 'rtn') return undefined;
  if (calibration === undefined)
    throw new UserError('gptq needs a calibration text', { advice: 'pass `calibration`, or use method rtn' });
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

/** Says once what a loader will not read. */
function noteLoaders({ plan, options }: QuantizeJob): void {
  for (const note of loaderNotes(plan)) options.onNotice?.(note);
}

async function writeWeights(job: QuantizeJob, folder: HashingFolder): Promise<LayerRecord[]> {
  const { options, plan, opened } = job;
  const layers: LayerRecord[] = [];
  const linears = produceLinears(job);
  try {
    const feed = createTensorFeed({
      plan: job.outputs,
      checkpoint: opened.checkpoint,
      linears,
      format: checkpointFormat(plan.spec),
      onLinear: ({ name, method, linear, stats }) =>
        layers.push(makeLayerRecord({ name, method, bits: linear.bits, stats })),
      signal: options.signal,
    });
    await writeShards(job.shards, folder, feed, { signal: options.signal });
    // Lets the producer run to its end, so that it reports its last step and frees what it holds.
    await linears.next();
  } finally {
    await linears.return();
  }
  return layers;
}

function produceLinears(job: QuantizeJob): AsyncGenerator<FinishedLinear, void, undefined> {
  const { options, opened, plan, calibration } = job;
  const { engine, signal, onProgress } = options;
  const { source, config } = streamed(opened, engine, signal);
  const common = { engine, source, linears: plan.linears, spec: plan.spec, signal, onProgress };
  if (calibration === undefined) return quantizeDataFree(common);
  return quantizeCalibrated({ ...common, config, windows: calibration.windows });
}

interface Outcome {
  readonly out: string;
  readonly layers: readonly LayerRecord[];
  readonly clock: Stopwatch;
}

function makeReport(job: QuantizeJob, { out, layers, clock }: Outcome): QuantizeReport {
  const { options, plan, shards } = job;
  const { engine, host } = options;
  return {
    out,
    method: plan.spec.method,
    bitsPerWeight: plan.bitsPerWeight,
    bytes: shards.shards.reduce((total, shard) => total + shard.fileBytes, 0),
    seconds: clock.totalSeconds(),
    layers,
    skipped: plan.skipped,
    peakGpuBytes: engine.memory().peakBytes,
    peakRssBytes: host.peakRssBytes?.() ?? null,
    adapter: engine.info.adapter,
    engine: engine.info,
    stages: clock.stages,
  };
}
