import { isCastSource } from '../../core/cast-elements.js';
import { product } from '../../core/dims.js';
import { blockTypeOf } from '../../formats/gguf/blocks/block-type-of.js';
import type { RowOrder } from '../../formats/gguf/blocks/row-encoder.js';
import type { PlannedGgufTensor } from '../../formats/gguf/gguf-plan.js';
import { tensorBytes } from '../../formats/gguf/gguf-plan.js';
import { ggufArchitecture } from '../../formats/gguf/metadata/model-config.js';
import { headPermutation } from '../../formats/gguf/row-permutation.js';
import { EMBEDDING_MODULE, ggufName, HEAD_MODULE, isPermuted } from '../../formats/gguf/tensor-names.js';
import type { ModelItem, ModelToWrite, PlannedDense, PlannedLinear } from '../output-format.js';
import type { GgufFormatName } from './gguf-targets.js';
import { linearType, mayHold, tableType } from './gguf-targets.js';

/** A tensor of the file and the item of the model that it is made of. */
export interface GgufPlace {
  readonly tensor: PlannedGgufTensor;
  readonly item: ModelItem;
  /** Query and key projections of architecture llama: checkpoint row of a file row, and the rows that belong together. */
  readonly rowOrder?: { readonly order: RowOrder; readonly headDim: number } | undefined;
}

export interface GgufLayout {
  /** In the order of the model's items. */
  readonly places: readonly GgufPlace[];
  /** Dense items that are not written: heads that are tied, buffers. */
  readonly dropped: readonly string[];
  /** Linears that lie in another type because their rows are not whole super-blocks, and the types. */
  readonly fallbacks: { readonly modules: readonly string[]; readonly types: ReadonlySet<string> };
  /** Why the model cannot be written: every reason. */
  readonly problems: readonly string[];
  /** Stored bits per weight of the linears, quantized or skipped. */
  readonly bitsPerWeight: number;
}

/** Names, types and order of all tensors made of the model's items. */
export function layOutGguf(format: GgufFormatName, model: ModelToWrite): GgufLayout {
  const places: GgufPlace[] = [];
  const dropped: string[] = [];
  const fallbacks = { modules: [] as string[], types: new Set<string>() };
  const problems: string[] = [];
  for (const item of model.items) {
    const name = item.kind === 'dense' ? item.tensor.name : `${item.linear.name}.weight`;
    const renamed = ggufName(name);
    if (isDropped(name, model)) dropped.push(name);
    else if (renamed === undefined) problems.push(`"${name}": GGUF has no name for such a tensor`);
    else {
      const stored =
        item.kind === 'dense' ? denseTensor(format, item.tensor, model) : linearTensor(format, item.linear);
      if (Array.isArray(stored)) problems.push(...stored);
      else places.push({ tensor: { ...stored, name: renamed }, item, rowOrder: rowOrderOf(renamed, model) });
      if (item.kind === 'linear' && !Array.isArray(stored) && isFallback(format, item.linear)) {
        fallbacks.modules.push(item.linear.name);
        fallbacks.types.add(stored.type);
      }
    }
  }
  if (problems.length === 0) problems.push(...mixtureProblems(format, places));
  return { places, dropped, fallbacks, problems, bitsPerWeight: bitsPerWeight(places, model) };
}

/** A tied head is the embedding again; inverse frequencies of old checkpoints follow from the config. */
function isDropped(name: string, { config }: ModelToWrite): boolean {
  return (
    (config.tieWordEmbeddings && name === `${HEAD_MODULE}.weight`) || name.endsWith('.rotary_emb.inv_freq')
  );
}

type StoredTensor = Pick<PlannedGgufTensor, 'type' | 'shape'>;

function denseTensor(
  format: GgufFormatName,
  { name, dtype, shape }: PlannedDense,
  { config }: ModelToWrite,
): StoredTensor | string[] {
  if (!isCastSource(dtype)) return [`"${name}": ${dtype} is no dtype of weights`];
  if (shape.length === 1 || name.endsWith('norm.weight')) return { type: 'F32', shape };
  const isEmbedding = name === `${EMBEDDING_MODULE}.weight`;
  if (!isEmbedding && name !== `${HEAD_MODULE}.weight`) return { type: 'F16', shape };
  const isHead = !isEmbedding || config.tieWordEmbeddings;
  return { type: tableType(format, { cols: shape.at(-1) ?? 1, isHead }), shape };
}

function linearTensor(format: GgufFormatName, linear: PlannedLinear): StoredTensor | string[] {
  const { name, grid, outFeatures, inFeatures } = linear;
  const type = blockTypeOf(grid, inFeatures);
  if (typeof type !== 'string') return type.map((problem) => `${name}: ${problem}`);
  if (!isTable(name) && !mayHold(format, type, inFeatures))
    return [
      `${name}: ${type} blocks do not belong into ${format}, which holds ${linearType(format, inFeatures)}`,
    ];
  return { type, shape: [outFeatures, inFeatures] };
}

export function isTable(module: string): boolean {
  return module === EMBEDDING_MODULE || module === HEAD_MODULE;
}

function isFallback(format: GgufFormatName, { name, inFeatures }: PlannedLinear): boolean {
  return !isTable(name) && linearType(format, inFeatures) !== linearType(format, 0);
}

function rowOrderOf(name: string, { config }: ModelToWrite): GgufPlace['rowOrder'] {
  if (!isPermuted(ggufArchitecture(config.modelType) ?? '', name)) return undefined;
  return { order: headPermutation(config.headDim), headDim: config.headDim };
}

/** A format named after a type has at least one linear in it. */
function mixtureProblems(format: GgufFormatName, places: readonly GgufPlace[]): string[] {
  const linears = places.flatMap(({ item, tensor }) =>
    item.kind === 'linear' && !isTable(item.linear.name) ? [{ linear: item.linear, type: tensor.type }] : [],
  );
  const isMain = ({ linear, type }: (typeof linears)[number]): boolean =>
    type === linearType(format, linear.inFeatures);
  if (linears.length === 0 || linears.some(isMain)) return [];
  return [
    `none of the ${linears.length} linears is in ${linearType(format, 0)} blocks; all are ${linears[0].type}`,
  ];
}

function bitsPerWeight(places: readonly GgufPlace[], model: ModelToWrite): number {
  const skipped = new Set(model.skipped.map((module) => `${module}.weight`));
  const counted = places.filter(({ item }) =>
    item.kind === 'linear' ? item.linear.name !== EMBEDDING_MODULE : skipped.has(item.tensor.name),
  );
  const weights = counted.reduce((total, { tensor }) => total + product(tensor.shape), 0);
  const bytes = counted.reduce((total, { tensor }) => total + tensorBytes(tensor), 0);
  return weights === 0 ? 16 : (bytes * 8) / weights;
}
