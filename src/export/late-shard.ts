/**
 * A safetensors folder with tensors whose sizes only their values tell. A shard's header comes before its tensors, so these
 * are kept (they are small) and written as a shard of their own, the last one.
 */
import { Bug } from '../core/errors.js';
import type { DType } from '../core/dtype.js';
import type { QuantizedLinear } from '../core/quantized-linear.js';
import { INDEX_FILE, SINGLE_FILE } from '../formats/safetensors/checkpoint.js';
import { planShards } from '../formats/safetensors/shard-plan.js';
import { createShardWriter } from '../formats/safetensors/shard-writer.js';
import { isJsonObject, parseJson } from '../io/json.js';
import type { OutputFolder } from '../io/output-folder.js';
import { jsonText } from './config-text.js';
import type { FolderFormat } from './folder-format.js';
import { createFolderFormat } from './folder-format.js';
import type {
  ModelToWrite,
  ModelWriter,
  OutputFormat,
  PlannedLinear,
  PlannedWriter,
} from './output-format.js';
import { plannedLinears } from './output-format.js';

export interface LateTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface LateFolderFormat extends FolderFormat {
  /** Late tensors of one linear; none where all sizes are known beforehand. */
  late(linear: PlannedLinear, record: QuantizedLinear): readonly LateTensor[];
  /** About how many bytes the late tensors of a linear take, headers included; 0 where it has none. */
  lateBytes(linear: PlannedLinear): number;
}

/** As createFolderFormat; models with late tensors become two shards or more, with an index. */
export function createLateFolderFormat(format: LateFolderFormat): OutputFormat {
  const base = createFolderFormat(format);
  return {
    ...base,
    plan: async (model) => {
      const planned = await base.plan(model);
      const linears = plannedLinears(model);
      const lateBytes = linears.reduce((sum, linear) => sum + format.lateBytes(linear), 0);
      if (lateBytes === 0) return planned;
      const facts = { ...planned, expectedBytes: planned.expectedBytes + lateBytes };
      return {
        ...facts,
        open: async (folder) => ({
          ...facts,
          ...(await openLateWriter(format, model, planned, folder)),
        }),
      };
    },
  };
}

/** What the writer of the other shards has written, as far as the index needs it. */
interface Written {
  /** Names of its shards in the folder. */
  readonly shards: string[];
  /** Its index, where it has several shards. */
  index: string | undefined;
}

async function openLateWriter(
  format: LateFolderFormat,
  model: ModelToWrite,
  planned: PlannedWriter,
  folder: OutputFolder,
): Promise<Pick<ModelWriter, 'dense' | 'linear' | 'finish' | 'abort'>> {
  const written: Written = { shards: [], index: undefined };
  const inner = await planned.open(withRoomForOneMore(folder, written));
  const linears = new Map(plannedLinears(model).map((linear) => [linear.name, linear]));
  const late: LateTensor[] = [];
  return {
    dense: (name) => inner.dense(name),
    linear: async (name, record) => {
      const linear = linears.get(name);
      if (linear === undefined) throw new Bug(`internal: ${name} is not a linear of the plan`);
      late.push(...format.late(linear, record));
      await inner.linear(name, record);
    },
    finish: async () => {
      await inner.finish();
      await writeLateShard(format, model, { late, written, folder });
    },
    abort: () => inner.abort(),
  };
}

/** Shards get names that count one more, and the index is kept back. */
function withRoomForOneMore(folder: OutputFolder, written: Written): OutputFolder {
  return {
    target: folder.target,
    create: (name) => {
      const renamed = countOneMore(name);
      if (renamed !== name) written.shards.push(renamed);
      return folder.create(renamed);
    },
    writeText: (name, text) => {
      if (name !== INDEX_FILE) return folder.writeText(name, text);
      written.index = text;
      return Promise.resolve();
    },
    commit: () => folder.commit(),
    abort: () => folder.abort(),
  };
}

function countOneMore(file: string): string {
  if (file === SINGLE_FILE) return shardName(1, 2);
  const found = /^model-(\d{5})-of-(\d{5})\.safetensors$/.exec(file);
  return found === null ? file : shardName(Number(found[1]), Number(found[2]) + 1);
}

function shardName(number: number, count: number): string {
  const digits = (value: number): string => String(value).padStart(5, '0');
  return `model-${digits(number)}-of-${digits(count)}.safetensors`;
}

async function writeLateShard(
  format: LateFolderFormat,
  model: ModelToWrite,
  { late, written, folder }: { late: readonly LateTensor[]; written: Written; folder: OutputFolder },
): Promise<void> {
  const count = written.shards.length + 1;
  const file = shardName(count, count);
  const plan = planShards(late, { metadata: format.metadata, maxShardBytes: Infinity });
  const writer = createShardWriter(
    { ...plan, shards: plan.shards.map((shard) => ({ ...shard, file })) },
    folder,
  );
  for (const { name, bytes } of late) await writer.append(name, bytes);
  await writer.finish();
  const { weightMap, totalBytes } = earlierIndex(format, model, written);
  for (const { name } of late) weightMap[name] = file;
  const index = { metadata: { total_size: totalBytes + plan.totalBytes }, weight_map: weightMap };
  await folder.writeText(INDEX_FILE, jsonText(index));
}

/** Where the tensors of the other shards are. */
function earlierIndex(
  format: LateFolderFormat,
  model: ModelToWrite,
  written: Written,
): { weightMap: Record<string, string>; totalBytes: number } {
  if (written.index === undefined) {
    const tensors = model.items.flatMap((item) =>
      item.kind === 'linear'
        ? format.tensors(item.linear)
        : [{ ...item.tensor, dtype: format.denseDType?.(item.tensor, model) ?? item.tensor.dtype }],
    );
    const { totalBytes } = planShards(tensors, { maxShardBytes: Infinity });
    return {
      weightMap: Object.fromEntries(tensors.map(({ name }) => [name, written.shards[0]])),
      totalBytes,
    };
  }
  const index = parseJson(written.index, INDEX_FILE);
  if (!isJsonObject(index) || !isJsonObject(index.weight_map) || !isJsonObject(index.metadata))
    throw new Bug('internal: the index of the first shards has no weight_map');
  const entries = Object.entries(index.weight_map).map(([name, file]) => [name, countOneMore(String(file))]);
  return {
    weightMap: Object.fromEntries(entries) as Record<string, string>,
    totalBytes: Number(index.metadata.total_size),
  };
}
