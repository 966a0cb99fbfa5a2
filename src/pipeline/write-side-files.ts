import { patchedConfigText, jsonText } from '../export/config-text.js';
import type { HashingFolder } from '../export/hashing-folder.js';
import { licenseOf, modelCard } from '../export/model-card.js';
import { quantizationConfig } from '../export/quantization-config.js';
import { sideFiles } from '../export/side-files.js';
import { HEAD_NAME } from '../model/index.js';
import { readText } from '../io/json.js';
import { streamChunks } from '../io/stream-chunks.js';
import type { LayerRecord } from '../report/quantize-report.js';
import type { RunRecord, SourceRecord } from '../report/run-record.js';
import { RUN_RECORD_SCHEMA_VERSION, runRecordText } from '../report/run-record.js';
import type { QuantizeJob } from './quantize-model.js';
import { loaderNotes } from './loader-notes.js';
import { commandText, flatSettings } from './quantize-settings.js';

export interface SideFilesOptions {
  readonly job: QuantizeJob;
  readonly folder: HashingFolder;
  readonly source: SourceRecord;
  readonly layers: readonly LayerRecord[];
}

/** Everything but the weights: patched config, copied side files, model card and, last, halfbyte.json with all hashes. */
export async function writeSideFiles(options: SideFilesOptions): Promise<void> {
  const { job, folder } = options;
  const { opened, plan } = job;
  const isInBlock = (name: string): boolean => name !== HEAD_NAME;
  const quantization = quantizationConfig({
    spec: plan.spec,
    toolVersion: job.options.host.version,
    lmHead: plan.linears.some((linear) => linear.name === HEAD_NAME),
    quantized: plan.linears.map((linear) => linear.name).filter(isInBlock),
    skipped: plan.skipped.map(({ name }) => name).filter(isInBlock),
  });
  await folder.writeText(
    'config.json',
    patchedConfigText(opened.configText, opened.configJson, quantization),
  );
  await folder.writeText('quantize_config.json', jsonText(quantization));
  await copySideFiles(options);
  const record = makeRecord(options);
  await folder.writeText(
    'README.md',
    modelCard({ ...cardFacts(job), record, license: await findLicense(job) }),
  );
  const files = Object.fromEntries([...folder.sha256].sort(([a], [b]) => (a < b ? -1 : 1)));
  await folder.writeText('halfbyte.json', runRecordText({ ...record, files }));
}

async function copySideFiles({ job, folder }: SideFilesOptions): Promise<void> {
  const { files } = job.opened.model;
  const { signal } = job.options;
  for (const name of sideFiles(files.keys())) {
    const source = files.get(name);
    if (source === undefined) continue;
    const sink = await folder.create(name);
    for await (const bytes of streamChunks(source, 0, source.size, { signal })) await sink.append(bytes);
    await sink.seal();
  }
}

function makeRecord({ job, source, layers }: SideFilesOptions): Omit<RunRecord, 'files'> {
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
      calibration: text?.isDefault === true ? undefined : text?.label,
    }),
    source,
    settings: flatSettings(settings),
    calibration: calibration?.record ?? null,
    engine: {
      engine: info.engine,
      adapter: info.adapter,
      precision: info.precision,
      matrixLibrary: info.matrixLibrary ?? null,
      features: info.features,
    },
    bitsPerWeight: plan.bitsPerWeight,
    layers,
    skipped: plan.skipped,
  };
}

function cardFacts(job: QuantizeJob): { originalBytes: number; quantizedBytes: number; notes: string[] } {
  const { checkpoint } = job.opened;
  let originalBytes = 0;
  for (const { begin, end } of checkpoint.tensors.values()) originalBytes += end - begin;
  return { originalBytes, quantizedBytes: job.shards.totalBytes, notes: loaderNotes(job.plan) };
}

async function findLicense(job: QuantizeJob): Promise<string | undefined> {
  const card = job.opened.model.files.get('README.md');
  return card === undefined ? undefined : licenseOf(await readText(card, job.options.signal));
}
