/**
 * A record of codes → rows of blocks, byte for byte what the record says: no rounding anywhere. Memory: one row of lanes
 * and the rows asked for.
 */
import { Bug, FormatError } from '../../../core/errors.js';
import type {
  AffineLinear,
  AffineMinLinear,
  KQuantLinear,
  QuantizedLinear,
} from '../../../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../../../core/quantized-linear.js';
import { bytesOf } from '../../../io/byte-views.js';
import { rowBytes } from '../block-types.js';
import type { WritableBlockType } from './block-type-of.js';
import { toHalves } from './halves.js';
import { joinQ4KRow, joinQ6KRow } from './k-blocks.js';
import { streamToLanes } from './lanes.js';
import type { SimpleType } from './simple-blocks.js';
import { joinSimpleRow, SIMPLE_BLOCK, SIMPLE_TYPES } from './simple-blocks.js';

/** File row → row of the record. */
export type RowOrder = (row: number) => number;

export interface RowEncoder {
  /** Bytes of file rows [first, first + rows). FormatError for scales that are no finite float16. */
  encode(first: number, rows: number): Uint8Array;
}

export interface EncodeTarget {
  readonly type: WritableBlockType;
  /** Module path, for messages. */
  readonly name: string;
  readonly rowOrder?: RowOrder | undefined;
}

/** FormatError where the record does not fit the type: its structure first, its numbers as they are encoded. */
export function createRowEncoder(linear: QuantizedLinear, target: EncodeTarget): RowEncoder {
  const { type, name, rowOrder = (row: number): number => row } = target;
  const write = rowWriter(linear, type, name);
  const width = rowBytes(type, linear.inFeatures);
  return {
    encode: (first, rows) => {
      if (first + rows > linear.outFeatures)
        throw new Bug(`internal: ${name} has no rows ${first} to ${first + rows}`);
      const units = new Uint16Array((rows * width) / 2);
      for (let i = 0; i < rows; i++) write(rowOrder(first + i), units, (i * width) / 2);
      return bytesOf(units);
    },
  };
}

type WriteRow = (row: number, out: Uint16Array, at: number) => void;

function rowWriter(linear: QuantizedLinear, type: WritableBlockType, name: string): WriteRow {
  switch (type) {
    case 'Q4_0':
    case 'Q5_0':
    case 'Q8_0':
      if (linear.kind === 'affine') return simpleWriter(linear, type, name);
      break;
    case 'Q4_1':
    case 'Q5_1':
      if (linear.kind === 'affine-min') return simpleWriter(linear, type, name);
      break;
    case 'Q4_K':
      if (linear.kind === 'k-quant' && linear.type === 'q4_k') return kWriter(linear, name);
      break;
    case 'Q6_K':
      if (linear.kind === 'k-quant' && linear.type === 'q6_k') return kWriter(linear, name);
      break;
    default:
      return type satisfies never;
  }
  throw unfit(name, `a ${linear.kind} record cannot be written as ${type}`);
}

function simpleWriter(linear: AffineLinear | AffineMinLinear, type: SimpleType, name: string): WriteRow {
  const { inFeatures, outFeatures, groupSize, codes, scales, bits } = linear;
  const groups = inFeatures / groupSize;
  const problem = simpleProblem(linear, type);
  if (problem !== undefined) throw unfit(name, problem);
  const repeat = groupSize / SIMPLE_BLOCK;
  const blocks = inFeatures / SIMPLE_BLOCK;
  const words = (inFeatures * bits) / 32;
  const row = {
    lanes: new Uint32Array(inFeatures / 4),
    scales: new Uint16Array(blocks),
    mins: new Uint16Array(linear.kind === 'affine-min' ? blocks : 0),
  };
  if (codes.length !== outFeatures * words || scales.length !== outFeatures * groups)
    throw unfit(
      name,
      `${codes.length} words and ${scales.length} scales for [${outFeatures}, ${inFeatures}]`,
    );
  return (index, out, at) => {
    streamToLanes({ words: codes, start: index * words }, bits, row.lanes);
    halvesOf(scales, index * groups, row.scales, { name, what: 'scale', perRow: groups }, repeat);
    if (linear.kind === 'affine-min')
      halvesOf(linear.mins, index * groups, row.mins, { name, what: 'min', perRow: groups }, repeat);
    joinSimpleRow(type, row, out, at);
  };
}

function simpleProblem(linear: AffineLinear | AffineMinLinear, type: SimpleType): string | undefined {
  const { bits, inFeatures, groupSize, groupOf } = linear;
  if (bits !== SIMPLE_TYPES[type].bits)
    return `${type} has ${SIMPLE_TYPES[type].bits} bits, the record ${bits}`;
  if (groupSize % SIMPLE_BLOCK !== 0 || inFeatures % groupSize !== 0)
    return `groups of ${groupSize} of ${inFeatures} columns are not whole blocks of ${SIMPLE_BLOCK}`;
  const strayed = groupOf.findIndex((group, k) => group !== Math.floor(k / groupSize));
  if (strayed >= 0)
    return `column ${strayed} is in group ${groupOf[strayed]}: blocks hold neighbouring columns`;
  if (linear.kind === 'affine-min') return undefined;
  const zero = 2 ** (bits - 1);
  const offset = linear.zeros.findIndex((found) => found !== zero);
  return offset < 0
    ? undefined
    : `zero point ${linear.zeros[offset]} at element ${offset}: ${type} has ${zero} only`;
}

function kWriter(linear: KQuantLinear, name: string): WriteRow {
  const { type, inFeatures, outFeatures, codes, d, dmin, scales, mins } = linear;
  const { bits, subBlock } = K_QUANTS[type];
  const blocks = inFeatures / SUPER_BLOCK;
  const subs = inFeatures / subBlock;
  const words = (inFeatures * bits) / 32;
  const fits =
    Number.isInteger(blocks) &&
    codes.length === outFeatures * words &&
    d.length === outFeatures * blocks &&
    scales.length === outFeatures * subs &&
    (type === 'q6_k' || (dmin.length === d.length && mins.length === scales.length));
  if (!fits) throw unfit(name, `the parts of the ${type} record do not fit [${outFeatures}, ${inFeatures}]`);
  if (type === 'q4_k' && (scales.some((scale) => scale < 0 || scale > 63) || mins.some((min) => min > 63)))
    throw unfit(name, 'scales and minima of q4_k are 0 to 63');
  const lanes = new Uint32Array(inFeatures / 4);
  const halves = { d: new Uint16Array(blocks), dmin: new Uint16Array(type === 'q4_k' ? blocks : 0) };
  return (index, out, at) => {
    streamToLanes({ words: codes, start: index * words }, bits, lanes);
    halvesOf(d, index * blocks, halves.d, { name, what: 'd', perRow: blocks });
    if (type === 'q4_k') halvesOf(dmin, index * blocks, halves.dmin, { name, what: 'dmin', perRow: blocks });
    const row = {
      lanes,
      ...halves,
      scales: scales.subarray(index * subs, (index + 1) * subs),
      mins: mins.subarray(index * subs, (index + 1) * subs),
    };
    if (type === 'q4_k') joinQ4KRow(row, out, at);
    else joinQ6KRow(row, out, at);
  };
}

interface HalvesName {
  readonly name: string;
  readonly what: string;
  readonly perRow: number;
}

function halvesOf(
  values: Float32Array,
  start: number,
  out: Uint16Array,
  { name, what, perRow }: HalvesName,
  repeat = 1,
): void {
  const bad = toHalves(values, start, out, repeat);
  if (bad < 0) return;
  const where = `row ${Math.floor(bad / perRow)}, block ${bad % perRow}`;
  throw unfit(name, `${what} ${values[bad]} at ${where} is no finite float16 value`);
}

function unfit(name: string, message: string): FormatError {
  return new FormatError(message, { file: 'GGUF blocks', tensor: name });
}
