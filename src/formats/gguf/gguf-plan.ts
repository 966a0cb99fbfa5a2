import { UserError } from '../../core/errors.js';
import { product } from '../../core/dims.js';
import { listOffenders } from '../../io/list-offenders.js';
import { blockElems, rowBytes } from './block-types.js';
import { encodeHeader, padding, tensorProblem } from './encode-header.js';
import type { GgufTensorInfo } from './gguf-header.js';
import type { GgufMetadata, GgufValue } from './gguf-value.js';

export type PlannedGgufTensor = Pick<GgufTensorInfo, 'name' | 'type' | 'shape'>;

export interface GgufFilePlan {
  readonly file: string;
  /** Everything before the data, ready to be written. */
  readonly header: Uint8Array;
  /** In file order, offsets filled in. */
  readonly tensors: readonly GgufTensorInfo[];
  /** Size of the whole file. */
  readonly fileBytes: number;
}

export interface GgufPlan {
  readonly files: readonly GgufFilePlan[];
  /** Bytes of all files. */
  readonly fileBytes: number;
}

export interface GgufPlanOptions {
  readonly metadata: GgufMetadata;
  /** File name without extension. */
  readonly baseName: string;
  /** Tensor bytes per file; one file where absent. */
  readonly maxShardBytes?: number | undefined;
}

/**
 * Distributes tensors over files in the order given: one BASE.gguf, or BASE-00001-of-0000N.gguf where their bytes exceed
 * the limit, as llama.cpp's gguf-split names and marks them (full metadata in the first part, split.* in every part).
 * UserError lists duplicate names and tensors that a header cannot describe.
 */
export function planGguf(tensors: readonly PlannedGgufTensor[], options: GgufPlanOptions): GgufPlan {
  const { metadata, baseName, maxShardBytes = Infinity } = options;
  if (!(maxShardBytes >= 1))
    throw new UserError(`shard limit of ${maxShardBytes} bytes: at least 1 expected`);
  checkTensors(tensors);
  const groups: PlannedGgufTensor[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (filled > 0 && filled + bytes > maxShardBytes) {
      groups.push([]);
      filled = 0;
    }
    groups[groups.length - 1].push(tensor);
    filled += bytes;
  }
  const files = groups.map((group, index) => {
    const split = groups.length === 1 ? [] : splitEntries(index, groups.length, tensors.length);
    const entries = index === 0 ? [...metadata, ...split] : split;
    return planFile(fileName(baseName, index, groups.length), group, new Map(entries));
  });
  return { files, fileBytes: files.reduce((total, file) => total + file.fileBytes, 0) };
}

/** Bytes of a tensor, its padding not counted. */
export function tensorBytes({ type, shape }: Pick<PlannedGgufTensor, 'type' | 'shape'>): number {
  return rowBytes(type, product(shape));
}

function checkTensors(tensors: readonly PlannedGgufTensor[]): void {
  const seen = new Set<string>();
  const problems = tensors.flatMap((tensor) => {
    const twice = seen.has(tensor.name) ? [`"${tensor.name}": planned twice`] : [];
    seen.add(tensor.name);
    const ragged =
      (tensor.shape.at(-1) ?? 1) % blockElems(tensor.type) === 0
        ? []
        : [`"${tensor.name}": rows of ${tensor.shape.at(-1)} are not whole blocks of ${tensor.type}`];
    const problem = tensorProblem(tensor);
    return [...twice, ...ragged, ...(problem === undefined ? [] : [problem])];
  });
  if (problems.length > 0) throw new UserError(`these tensors cannot be written:${listOffenders(problems)}`);
}

function splitEntries(index: number, count: number, tensors: number): [string, GgufValue][] {
  return [
    ['split.no', { type: 'u16', value: index }],
    ['split.count', { type: 'u16', value: count }],
    ['split.tensors.count', { type: 'i32', value: tensors }],
  ];
}

function fileName(baseName: string, index: number, count: number): string {
  if (count === 1) return `${baseName}.gguf`;
  const digits = (value: number): string => String(value).padStart(5, '0');
  return `${baseName}-${digits(index + 1)}-of-${digits(count)}.gguf`;
}

function planFile(file: string, tensors: readonly PlannedGgufTensor[], metadata: GgufMetadata): GgufFilePlan {
  let position = 0;
  const placed = tensors.map((tensor) => {
    const offset = position;
    const bytes = tensorBytes(tensor);
    position += bytes + padding(bytes);
    return { ...tensor, offset, bytes };
  });
  const header = encodeHeader(metadata, placed);
  const infos = placed.map(({ name, type, shape, offset, bytes }) => {
    const begin = header.byteLength + offset;
    return { name, type, shape, file, begin, end: begin + bytes };
  });
  return { file, header, tensors: infos, fileBytes: header.byteLength + position };
}
