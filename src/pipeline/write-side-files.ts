import type { HashingFolder } from '../export/hashing-folder.js';
import { licenseOf, modelCard } from '../export/model-card.js';
import type { OutputFormat } from '../export/output-format.js';
import { sideFiles } from '../export/side-files.js';
import type { ByteSource } from '../io/byte-source.js';
import { readText } from '../io/json.js';
import { streamChunks } from '../io/stream-chunks.js';
import type { RunRecord } from '../report/run-record.js';
import { runRecordText } from '../report/run-record.js';
import type { OpenedModel } from './open-model.js';

export interface SideFilesOptions {
  readonly opened: OpenedModel;
  readonly format: OutputFormat;
  /** Bytes of the weight files written. */
  readonly weightBytes: number;
  /** Holds the weights and what the format wrote beside them. */
  readonly folder: HashingFolder;
  readonly record: Omit<RunRecord, 'files'>;
  readonly signal?: AbortSignal | undefined;
}

/** Everything around the weights that is the same in all formats: copied files, model card and, last, halfbyte.json. */
export async function writeSideFiles(options: SideFilesOptions): Promise<void> {
  const { opened, format, weightBytes, folder, record, signal } = options;
  await copySideFiles(options);
  const card = opened.files.get('README.md');
  const license = card === undefined ? undefined : licenseOf(await readText(card, signal));
  await folder.writeText(
    'README.md',
    modelCard({
      originalBytes: originalBytes(opened),
      quantizedBytes: weightBytes,
      card: format.card,
      record,
      license,
    }),
  );
  const files = Object.fromEntries([...folder.sha256].sort(([a], [b]) => (a < b ? -1 : 1)));
  await folder.writeText('halfbyte.json', runRecordText({ ...record, files }));
}

async function copySideFiles({ opened, folder, signal }: SideFilesOptions): Promise<void> {
  for (const [name, source] of copiedFiles(opened.files)) {
    // A format may have written its own.
    if (folder.sha256.has(name)) continue;
    const sink = await folder.create(name);
    for await (const bytes of streamChunks(source, 0, source.size, { signal })) await sink.append(bytes);
    await sink.seal();
  }
}

/** Tokenizer, templates, licence and so on: what travels along with the weights. */
export function copiedFiles(files: ReadonlyMap<string, ByteSource>): ReadonlyMap<string, ByteSource> {
  return new Map(
    sideFiles(files.keys()).flatMap((name) => {
      const source = files.get(name);
      return source === undefined ? [] : [[name, source] as const];
    }),
  );
}

function originalBytes({ checkpoint, quantized }: OpenedModel): number {
  let bytes = 0;
  for (const { begin, end } of checkpoint.tensors.values()) bytes += end - begin;
  // Containers list their quantized tensors apart.
  if (quantized !== undefined && quantized.packing.size === 0)
    for (const module of quantized.modules) {
      const [rows, cols] = quantized.shape(module);
      bytes += (quantized.storedBits(module) * rows * cols) / 8;
    }
  return bytes;
}
