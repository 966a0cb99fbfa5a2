import { Bug, UserError } from '../../core/errors.js';
import type { Grid } from '../../core/quantized-linear.js';
import { blockTypeOf } from '../../formats/gguf/blocks/block-type-of.js';
import { createRowEncoder } from '../../formats/gguf/blocks/row-encoder.js';
import { isBlockType, rowBytes } from '../../formats/gguf/block-types.js';
import type { GgufPlan } from '../../formats/gguf/gguf-plan.js';
import { planGguf } from '../../formats/gguf/gguf-plan.js';
import { createGgufWriter } from '../../formats/gguf/gguf-writer.js';
import { ggufMetadata } from '../../formats/gguf/metadata/gguf-metadata.js';
import { ROPE_FREQS, ropeFreqs } from '../../formats/gguf/metadata/rope-freqs.js';
import { readTokenizerFiles } from '../../formats/gguf/metadata/tokenizer-files.js';
import { bytesOf } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { OutputFolder } from '../../io/output-folder.js';
import { createDenseSink } from '../gguf/dense-rows.js';
import type { GgufLayout, GgufPlace } from '../gguf/gguf-layout.js';
import { isTable, layOutGguf } from '../gguf/gguf-layout.js';
import type { GgufFormatName } from '../gguf/gguf-targets.js';
import { FILE_TYPE_Q4_K_M, GGUF_TARGETS, GRID_OF_TYPE, linearType, mayHold } from '../gguf/gguf-targets.js';
import { createHalfCheck } from '../gguf/half-check.js';
import type {
  DenseSink,
  LinearShape,
  ModelToWrite,
  ModelWriter,
  OutputFormat,
  PlannedWriter,
} from '../output-format.js';

/** File name without extension; split files append their number. */
const BASE_NAME = 'model';
/** Bytes of encoded rows handed to the file at once. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/** One GGUF file (or its splits) for llama.cpp and kin, in one of the types of ggml. */
export function ggufFormat(name: GgufFormatName): OutputFormat {
  const { main } = GGUF_TARGETS[name];
  const format: OutputFormat = {
    name,
    card: {
      tags: ['gguf', 'llama.cpp'],
      libraryName: 'llama.cpp',
      loading: ['```sh', `llama-cli -m ${BASE_NAME}.gguf -p "Hello"`, '```'].join('\n'),
    },
    problems: (grid, shape) => gridProblems(name, grid, shape),
    plan: (model) => planFormat(name, model),
  };
  if (main === 'F16') return { ...format, holdsPlain: true };
  return {
    ...format,
    holdsTables: true,
    nativeGrid: ({ inFeatures }) => {
      const type = linearType(name, inFeatures);
      if (type === 'F16') throw new Bug(`internal: ${name} has no grid`);
      return GRID_OF_TYPE[type];
    },
  };
}

/** `shape` may be a whole planned linear: embeddings and heads may lie in any type. */
function gridProblems(format: GgufFormatName, grid: Grid, shape: LinearShape): string[] {
  if (GGUF_TARGETS[format].main === 'F16')
    return ['gguf-f16 holds 16-bit weights: choose the gguf type of the codes, or dequantize into hf'];
  const type = blockTypeOf(grid, shape.inFeatures);
  if (typeof type !== 'string') return [...type];
  if ((shape.name !== undefined && isTable(shape.name)) || mayHold(format, type, shape.inFeatures)) return [];
  const wanted = linearType(format, shape.inFeatures);
  const own = `gguf-${type.toLowerCase()}`;
  const advice = Object.hasOwn(GGUF_TARGETS, own) ? `: use ${own}` : ', which no format of ours is made of';
  return [
    `${format} holds ${wanted} blocks for ${shape.inFeatures} columns, these codes are ${type}${advice}`,
  ];
}

async function planFormat(name: GgufFormatName, model: ModelToWrite): Promise<PlannedWriter> {
  const layout = layOutGguf(name, model);
  const types = layout.places.map(({ tensor }) => tensor.type);
  const mixed = layout.places.some(
    ({ item, tensor }) => item.kind === 'linear' && !isTable(item.linear.name) && tensor.type === 'Q6_K',
  );
  const { metadata, notes, problems } = ggufMetadata({
    config: model.config,
    configJson: model.configJson,
    tokenizer: await readTokenizerFiles(model.sideFiles, model.signal),
    name: shortName(model.name),
    fileType: name === 'gguf-q4_k' && mixed ? FILE_TYPE_Q4_K_M : GGUF_TARGETS[name].fileType,
    quantized: types.some(isBlockType),
  });
  const allProblems = [...layout.problems, ...problems];
  if (allProblems.length > 0)
    throw new UserError(`the model cannot be written as ${name}:${listOffenders(allProblems)}`, {
      advice: 'choose another format, or quantize onto the grid of this one',
    });
  const freqs = ropeFreqs(model.config.rope);
  const extra =
    freqs === undefined ? [] : [{ name: ROPE_FREQS, type: 'F32' as const, shape: [freqs.length] }];
  const plan = planGguf([...extra, ...layout.places.map(({ tensor }) => tensor)], {
    metadata,
    baseName: BASE_NAME,
    maxShardBytes: model.maxShardBytes,
  });
  const facts = {
    expectedBytes: plan.fileBytes,
    bitsPerWeight: layout.bitsPerWeight,
    notes: [...notes, ...layoutNotes(name, layout, model)],
  };
  return { ...facts, open: (folder) => openWriter({ layout, plan, model, freqs, folder, facts }) };
}

/** "owner/name" as it is; of a path only the last part: where a file lay is nobody else's business. */
function shortName(name: string): string {
  return /^[\w.-]+\/[\w.-]+$/.test(name) && !name.startsWith('.')
    ? name
    : (name.split(/[\\/]/).filter(Boolean).at(-1) ?? name);
}

function layoutNotes(format: GgufFormatName, { fallbacks }: GgufLayout, { items }: ModelToWrite): string[] {
  const hasFloat32 = items.some(
    (item) => item.kind === 'dense' && item.tensor.shape.length > 1 && item.tensor.dtype === 'F32',
  );
  return [
    ...(fallbacks.modules.length === 0
      ? []
      : [
          `${fallbacks.modules.length} linears have rows that are not whole blocks of 256 and lie in ${[...fallbacks.types].join(', ')} instead of ${GGUF_TARGETS[format].main}, as in llama.cpp's own files: ${shortList(fallbacks.modules)}`,
        ]),
    ...(format === 'gguf-f16' && hasFloat32 ? ['float32 weights are rounded to float16'] : []),
  ];
}

function shortList(names: readonly string[]): string {
  return names.slice(0, 3).join(', ') + (names.length > 3 ? ' …' : '');
}

interface OpenOptions {
  readonly layout: GgufLayout;
  readonly plan: GgufPlan;
  readonly model: ModelToWrite;
  readonly freqs: Float32Array | undefined;
  readonly folder: OutputFolder;
  readonly facts: Pick<ModelWriter, 'expectedBytes' | 'bitsPerWeight' | 'notes'>;
}

async function openWriter({ layout, plan, model, freqs, folder, facts }: OpenOptions): Promise<ModelWriter> {
  const writer = createGgufWriter(plan, folder);
  const halves = createHalfCheck();
  const notes = [...facts.notes];
  const places = new Map(
    layout.places.map((place) => [
      place.item.kind === 'dense' ? place.item.tensor.name : place.item.linear.name,
      place,
    ]),
  );
  const find = (name: string): GgufPlace => {
    const place = places.get(name);
    if (place === undefined) throw new Bug(`internal: ${name} is not part of the plan`);
    return place;
  };
  const discard: DenseSink = { append: () => Promise.resolve(), end: () => Promise.resolve() };
  if (freqs !== undefined) await writer.append(ROPE_FREQS, bytesOf(freqs));
  return {
    ...facts,
    notes,
    dense: (name) => {
      if (layout.dropped.includes(name)) return Promise.resolve(discard);
      const place = find(name);
      if (place.item.kind !== 'dense') throw new Bug(`internal: ${name} is planned as a quantized linear`);
      const append = (bytes: Uint8Array): Promise<void> => writer.append(place.tensor.name, bytes);
      const { quantizeRows } = model;
      return Promise.resolve(
        createDenseSink({ place, tensor: place.item.tensor, quantizeRows, halves, append }),
      );
    },
    linear: async (name, record) => {
      const { tensor, rowOrder } = find(name);
      if (!isBlockType(tensor.type) || tensor.type === 'Q5_K')
        throw new Bug(`internal: ${name} is planned as ${tensor.type}`);
      const encoder = createRowEncoder(record, { type: tensor.type, name, rowOrder: rowOrder?.order });
      const rows = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes(tensor.type, record.inFeatures)));
      for (let first = 0; first < record.outFeatures; first += rows)
        await writer.append(tensor.name, encoder.encode(first, Math.min(rows, record.outFeatures - first)));
    },
    finish: async () => {
      await writer.finish();
      const note = halves.note();
      if (note !== undefined) notes.push(note);
    },
    abort: () => writer.abort(),
  };
}
