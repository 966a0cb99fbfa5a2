/** Formats that are a folder of safetensors beside a patched config.json: all but GGUF and ONNX. */
import { DTYPE_BYTES } from '../core/dtype.js';
import type { CastSource, CastTarget } from '../core/cast-elements.js';
import { castElements, isCastSource } from '../core/cast-elements.js';
import { product } from '../core/dims.js';
import { Bug } from '../core/errors.js';
import type { QuantizedLinear } from '../core/quantized-linear.js';
import type { PlannedTensor, ShardPlan } from '../formats/safetensors/shard-plan.js';
import { planShards } from '../formats/safetensors/shard-plan.js';
import { createShardWriter } from '../formats/safetensors/shard-writer.js';
import type { OutputFolder } from '../io/output-folder.js';
import type {
  DenseSink,
  ModelItem,
  ModelToWrite,
  ModelWriter,
  OutputFormat,
  PlannedDense,
  PlannedLinear,
  PlannedWriter,
} from './output-format.js';

export interface FolderFormat extends Omit<OutputFormat, 'plan'> {
  /** `__metadata__` of every shard. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The tensors of one quantized linear, in the order they are written. */
  tensors(linear: PlannedLinear): PlannedTensor[];
  /** Their bytes, by name. FormatError for values that do not fit. */
  encode(linear: PlannedLinear, record: QuantizedLinear): ReadonlyMap<string, Uint8Array>;
  /** config.json (always) and further small files, by name. */
  configFiles(model: ModelToWrite): ReadonlyMap<string, string>;
  /** What a loader will not read or does differently. */
  notes?(model: ModelToWrite): string[];
  /** Throws UserError where this model cannot be written at all. */
  check?(model: ModelToWrite): void;
  /** Dtype to which a dense tensor is rounded; undefined: its own. Asked of tensors of real numbers only. */
  denseDType?(tensor: PlannedDense, model: ModelToWrite): CastTarget | undefined;
}

export function createFolderFormat(format: FolderFormat): OutputFormat {
  const { name, card, problems, usualGrid, nativeGrid, holdsTables, holdsPlain } = format;
  return {
    name,
    card,
    problems,
    ...(usualGrid === undefined ? {} : { usualGrid }),
    ...(nativeGrid === undefined ? {} : { nativeGrid }),
    ...(holdsTables === undefined ? {} : { holdsTables }),
    ...(holdsPlain === undefined ? {} : { holdsPlain }),
    plan: (model) => {
      format.check?.(model);
      return Promise.resolve(planFolder(format, model));
    },
  };
}

function planFolder(format: FolderFormat, model: ModelToWrite): PlannedWriter {
  const tensors = model.items.flatMap((item) => tensorsOf(format, model, item));
  const shards = planShards(tensors, {
    metadata: format.metadata,
    ...(model.maxShardBytes === undefined ? {} : { maxShardBytes: model.maxShardBytes }),
  });
  const facts = {
    expectedBytes: shards.fileBytes,
    bitsPerWeight: bitsPerWeight(format, model),
    notes: format.notes?.(model) ?? [],
  };
  return {
    ...facts,
    open: (folder) => Promise.resolve({ ...facts, ...openWriter(format, model, shards, folder) }),
  };
}

function tensorsOf(format: FolderFormat, model: ModelToWrite, item: ModelItem): PlannedTensor[] {
  if (item.kind === 'linear') return format.tensors(item.linear);
  return [{ ...item.tensor, dtype: castOf(format, model, item.tensor)?.to ?? item.tensor.dtype }];
}

interface Cast {
  readonly from: CastSource;
  readonly to: CastTarget;
}

function castOf(format: FolderFormat, model: ModelToWrite, tensor: PlannedDense): Cast | undefined {
  if (!isCastSource(tensor.dtype)) return undefined;
  const to = format.denseDType?.(tensor, model);
  return to === undefined || to === tensor.dtype ? undefined : { from: tensor.dtype, to };
}

/** Stored bits per weight over quantized linears and those left alone. */
function bitsPerWeight(format: FolderFormat, model: ModelToWrite): number {
  const skipped = new Set(model.skipped.map((module) => `${module}.weight`));
  let bits = 0;
  let weights = 0;
  for (const item of model.items) {
    if (item.kind === 'dense' && !skipped.has(item.tensor.name)) continue;
    weights +=
      item.kind === 'linear' ? item.linear.outFeatures * item.linear.inFeatures : product(item.tensor.shape);
    for (const { dtype, shape } of tensorsOf(format, model, item))
      bits += product(shape) * DTYPE_BYTES[dtype] * 8;
  }
  return weights === 0 ? 16 : bits / weights;
}

function openWriter(
  format: FolderFormat,
  model: ModelToWrite,
  plan: ShardPlan,
  folder: OutputFolder,
): Pick<ModelWriter, 'dense' | 'linear' | 'finish' | 'abort'> {
  const writer = createShardWriter(plan, folder);
  const items = new Map(
    model.items.map((item) => [item.kind === 'linear' ? item.linear.name : item.tensor.name, item]),
  );
  const denseSink = (tensor: PlannedDense): DenseSink => {
    const cast = castOf(format, model, tensor);
    return {
      append: (bytes) =>
        writer.append(tensor.name, cast === undefined ? bytes : castElements(bytes, cast.from, cast.to)),
      end: () => Promise.resolve(),
    };
  };
  return {
    dense: (name) => {
      const item = items.get(name);
      if (item?.kind !== 'dense') throw new Bug(`internal: ${name} is not a dense tensor of the plan`);
      return Promise.resolve(denseSink(item.tensor));
    },
    linear: async (name, record) => {
      const item = items.get(name);
      if (item?.kind !== 'linear') throw new Bug(`internal: ${name} is not a linear of the plan`);
      const encoded = format.encode(item.linear, record);
      for (const tensor of format.tensors(item.linear)) {
        const bytes = encoded.get(tensor.name);
        if (bytes === undefined) throw new Bug(`internal: ${format.name} made no ${tensor.name}`);
        await writer.append(tensor.name, bytes);
      }
    },
    finish: async () => {
      await writer.finish();
      for (const [name, text] of format.configFiles(model)) await folder.writeText(name, text);
    },
    abort: () => writer.abort(),
  };
}
