/**
 * One 4-bit linear between the record of core/ and its tensors in a bitsandbytes checkpoint: codes two a byte, first in the
 * high nibble, shape [⌈N·K/2⌉, 1]; absmax F32, or U8 with nested statistics; both tables; a JSON text.
 * Source: bitsandbytes/functional.py (QuantState), nn/modules.py (Linear4bit). Memory: input plus absmax.
 */
import { CODEBOOKS } from '../../core/codebooks.js';
import type { DType } from '../../core/dtype.js';
import { DYNAMIC_MAP } from '../../core/dynamic-map.js';
import { FormatError } from '../../core/errors.js';
import type { CodebookLinear, CodebookName } from '../../core/quantized-linear.js';
import { bytesOf } from '../../io/byte-views.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { PlannedTensor } from '../safetensors/shard-plan.js';
import type { StoredTensor } from '../stored-tensor.js';
import { checkDType, elementError, realsOf } from '../stored-tensor.js';
import type { QuantState, WeightDType } from './quant-state.js';
import { BLOCK_SIZES, NESTED_BLOCK_SIZE, quantStateText, readQuantState } from './quant-state.js';

export const CODEBOOK_NAMES: readonly CodebookName[] = ['nf4', 'fp4'];

/** Tensor names below a module path. */
export const WEIGHT = 'weight';
export const ABSMAX = 'weight.absmax';
export const QUANT_MAP = 'weight.quant_map';
export const NESTED_ABSMAX = 'weight.nested_absmax';
export const NESTED_QUANT_MAP = 'weight.nested_quant_map';

export function stateName(codebook: CodebookName): string {
  return `weight.quant_state.bitsandbytes__${codebook}`;
}

export interface LayerFacts {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly codebook: CodebookName;
  readonly blockSize: number;
  readonly nested: boolean;
}

/** Why a linear cannot be stored, every reason. */
export function layerProblems({ blockSize }: Pick<LayerFacts, 'blockSize'>): string[] {
  return BLOCK_SIZES.some((size) => size === blockSize)
    ? []
    : [`bitsandbytes holds blocks of ${BLOCK_SIZES.join(', ')}, not ${blockSize}`];
}

/** The tensors of a linear but for its state, whose length with double quantization only the statistics tell. */
export function layerTensors(module: string, facts: LayerFacts): PlannedTensor[] {
  const count = facts.outFeatures * facts.inFeatures;
  const blocks = Math.ceil(count / facts.blockSize);
  const named = (part: string, dtype: DType, ...shape: number[]): PlannedTensor => ({
    name: `${module}.${part}`,
    dtype,
    shape,
  });
  const common = [
    named(WEIGHT, 'U8', Math.ceil(count / 2), 1),
    named(ABSMAX, facts.nested ? 'U8' : 'F32', blocks),
  ];
  const map = named(QUANT_MAP, 'F32', 16);
  if (!facts.nested) return [...common, map];
  return [
    ...common,
    named(NESTED_ABSMAX, 'F32', Math.ceil(blocks / NESTED_BLOCK_SIZE)),
    named(NESTED_QUANT_MAP, 'F32', 256),
    map,
  ];
}

/** Record → bytes of layerTensors, by name. */
export function encodeLayer(module: string, linear: CodebookLinear): Map<string, Uint8Array> {
  const { codes, absmax, nested, codebook } = linear;
  const parts: [string, ArrayBufferView][] = [
    [WEIGHT, codes],
    [ABSMAX, nested === undefined ? absmax : nested.codes],
    [QUANT_MAP, CODEBOOKS[codebook]],
  ];
  if (nested !== undefined) parts.push([NESTED_ABSMAX, nested.absmax], [NESTED_QUANT_MAP, DYNAMIC_MAP]);
  return new Map(parts.map(([part, view]) => [`${module}.${part}`, bytesOf(view)]));
}

/** A state as file bytes; `dtype` is that of the original weight, the offset that of double quantization. */
export function encodeState(
  facts: Omit<LayerFacts, 'nested'>,
  dtype: WeightDType,
  nestedOffset?: number,
): Uint8Array {
  const { codebook, blockSize, outFeatures, inFeatures } = facts;
  const shape = [outFeatures, inFeatures] as const;
  return new TextEncoder().encode(quantStateText({ codebook, blockSize, dtype, shape, nestedOffset }));
}

/** The tensors of a linear as found in a file. */
export interface LayerTensors {
  /** Any dtype: bnb_4bit_quant_storage relabels the bytes. */
  readonly weight: StoredTensor;
  readonly absmax: StoredTensor;
  readonly quantMap: StoredTensor;
  readonly state: StoredTensor;
  readonly nestedAbsmax?: StoredTensor | undefined;
  readonly nestedQuantMap?: StoredTensor | undefined;
}

/**
 * File tensors → record. FormatError for sizes that do not follow from the state's shape, tables that are not the
 * codebook's, numbers that are not finite. Statistics nested with another map than the dynamic one become plain absmax.
 */
export function decodeLayer(tensors: LayerTensors, codebook: CodebookName): CodebookLinear {
  const state = readQuantState(tensors.state, codebook);
  const [outFeatures, inFeatures] = state.shape;
  checkSizes(tensors, state);
  checkTable(tensors.quantMap, CODEBOOKS[codebook], codebook);
  const record = {
    kind: 'codebook',
    outFeatures,
    inFeatures,
    codebook,
    blockSize: state.blockSize,
    codes: tensors.weight.bytes,
  } as const;
  const { nestedAbsmax, nestedQuantMap } = tensors;
  if (state.nestedOffset === undefined || nestedAbsmax === undefined || nestedQuantMap === undefined)
    return { ...record, absmax: realsOf(tensors.absmax) };
  const nested = {
    blockSize: NESTED_BLOCK_SIZE,
    codes: tensors.absmax.bytes,
    absmax: realsOf(nestedAbsmax),
    offset: state.nestedOffset,
  } as const;
  const map = realsOf(nestedQuantMap);
  const absmax = Float32Array.from(
    nested.codes,
    (code, i) => Math.fround(map[code] * nested.absmax[Math.floor(i / NESTED_BLOCK_SIZE)]) + nested.offset,
  );
  const bad = absmax.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw elementError(tensors.absmax, bad, `an absmax of ${absmax[bad]} results`);
  const known = map.every((value, i) => value === DYNAMIC_MAP[i]);
  return known ? { ...record, absmax, nested } : { ...record, absmax };
}

function checkSizes(tensors: LayerTensors, { shape, blockSize, nestedOffset }: QuantState): void {
  const { weight, absmax, quantMap, nestedAbsmax, nestedQuantMap, state } = tensors;
  const count = shape[0] * shape[1];
  const blocks = Math.ceil(count / blockSize);
  const nested = nestedOffset !== undefined;
  const problems: string[] = [];
  const expect = (tensor: StoredTensor | undefined, dtypes: readonly DType[], length: number): void => {
    if (tensor === undefined) return;
    checkDType(tensor, dtypes);
    const { name } = tensor.info;
    const found = tensor.info.shape.reduce((total, dim) => total * dim, 1);
    if (found !== length) problems.push(`"${name}": ${length} elements expected, ${found} found`);
  };
  if (weight.bytes.byteLength !== Math.ceil(count / 2))
    problems.push(
      `"${weight.info.name}": ${Math.ceil(count / 2)} bytes expected, ${weight.bytes.byteLength} found`,
    );
  expect(absmax, nested ? ['U8'] : ['F32'], blocks);
  expect(quantMap, ['F32'], 16);
  if (nested && (nestedAbsmax === undefined || nestedQuantMap === undefined))
    problems.push(
      'the state speaks of double quantization, but nested_absmax or nested_quant_map is missing',
    );
  if (!nested && (nestedAbsmax !== undefined || nestedQuantMap !== undefined))
    problems.push('nested_absmax or nested_quant_map is there, but the state has no nested_offset');
  expect(nestedAbsmax, ['F32'], Math.ceil(blocks / NESTED_BLOCK_SIZE));
  expect(nestedQuantMap, ['F32'], 256);
  if (problems.length > 0)
    throw new FormatError(
      `a [${shape.join(', ')}] matrix in blocks of ${blockSize} does not fit its tensors:${listOffenders(problems)}`,
      {
        file: state.info.file,
        tensor: state.info.name,
        offset: state.info.begin,
        advice: 'the file is damaged, or tensors of different models were mixed: fetch it again',
      },
    );
}

/** Older releases computed FP4's table with another last bit. */
const TABLE_TOLERANCE = 1e-6;

function checkTable(tensor: StoredTensor, table: Float32Array, codebook: CodebookName): void {
  const values = realsOf(tensor);
  const wrong = values.findIndex((value, i) => !(Math.abs(value - table[i]) <= TABLE_TOLERANCE));
  if (wrong >= 0)
    throw elementError(
      tensor,
      wrong,
      `${table[wrong]} expected in the table of ${codebook}, ${values[wrong]} found`,
    );
}
