import type { HashingFolder } from '../export/hashing-folder.js';
import { licenseOf, modelCard } from '../export/model-card.js';
import { readText } from '../io/json.js';
import { streamChunks } from '../io/stream-chunks.js';
import type { LayerRecord } from '../report/quantize-report.js';
import type { RunRecord, SourceRecord } from '../report/run-record.js';
import { RUN_RECORD_SCHEMA_VERSION, runRecordText } from '../report/run-record.js';
import type { PlannedOutput, QuantizeJob } from './quantize-model.js';
import { copiedFiles } from './quantize-model.js';
import { commandText, flatSettings } from './quantize-settings.js';

export interface SideFilesOptions {
  readonly job: QuantizeJob;
  readonly output: PlannedOutput;
  /** Holds the weights and what the format wrote beside them. */
  readonly folder: HashingFolder;
  readonly source: SourceRecord;
  readonly layers: readonly LayerRecord[];
}

/** Everything around the weights that is the same in all formats: copied files, model card and, last, halfbyte.json. */
export async function writeSideFiles(options: SideFilesOptions): Promise<void> {
  const { job, output, folder } = options;
  await copySideFiles(options);
  const record = makeRecord(options);
  await folder.writeText(
    'README.md',
    modelCard({
      originalBytes: weightBytes(job),
      quantizedBytes: output.writer.expectedBytes,
      card: output.format.card,
      record,
      license: await findLicense(job),
    }),
  );
  const files = Object.fromEntries([...folder.sha256].sort(([a], [b]) => (a < b ? -1 : 1)));
  await folder.writeText('halfbyte.json', runRecordText({ ...record, files }));
}

async function copySideFiles({ job, folder }: SideFilesOptions): Promise<void> {
  const { model, signal } = job.options;
  for (const [name, source] of copiedFiles(model)) {
    // A format may have written its own.
    if (folder.sha256.has(name)) continue;
    const sink = await folder.create(name);
    for await (const bytes of streamChunks(source, 0, source.size, { signal })) await sink.append(bytes);
    await sink.seal();
  }
}

function makeRecord({ job, output, source, layers }: SideFilesOptions): Omit<RunRecord, 'files'> {
  const { options, plan, calibration } = job;
  const { settings, engine } = options;
  const text = options.calibration;
  const { info } = engine;
  return {
    schemaVersion: RUN_RECORD_SCHEMA_VERSION,
    tool: { name: 'halfbyte', version: options.host.version },
    command: commandText({
      model: source.revision === null ? source.model : `${source.model}@${source.revision}`,
      settings,
      formats: job.outputs.map(({ format }) => format.name),
      grid: plan.grid,
      calibration: text?.isDefault === true ? undefined : text?.label,
    }),
    format: output.format.name,
    notes: output.writer.notes,
    source,
    settings: flatSettings(settings, plan.grid),
    calibration: calibration?.record ?? null,
    engine: {
      engine: info.engine,
      adapter: info.adapter,
      precision: info.precision,
      matrixLibrary: info.matrixLibrary ?? null,
      features: info.features,
    },
    bitsPerWeight: output.writer.bitsPerWeight,
    layers,
    skipped: plan.skipped,
  };
}

function weightBytes({ opened }: QuantizeJob): number {
  let bytes = 0;
  for (const { begin, end } of opened.checkpoint.tensors.values()) bytes += end - begin;
  return bytes;
}

async function findLicense(job: QuantizeJob): Promise<string | undefined> {
  const card = job.opened.model.files.get('README.md');
  return card === undefined ? undefined : licenseOf(await readText(card, job.options.signal));
}
