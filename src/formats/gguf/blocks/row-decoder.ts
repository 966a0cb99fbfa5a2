/** Rows of blocks → a record of codes, the inverse of row-encoder.ts. Memory: the record and one row of lanes. */
import { FormatError } from '../../../core/errors.js';
import type {
  AffineLinear,
  AffineMinLinear,
  KQuantLinear,
  QuantizedLinear,
} from '../../../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../../../core/quantized-linear.js';
import { viewBytes } from '../../../io/byte-views.js';
import type { BlockType } from '../block-types.js';
import { BLOCK_TYPES, rowBytes } from '../block-types.js';
import { fromHalves } from './halves.js';
import { splitQ45KRow, splitQ6KRow } from './k-blocks.js';
import { lanesToStream } from './lanes.js';
import type { RowOrder } from './row-encoder.js';
import type { SimpleType } from './simple-blocks.js';
import { SIMPLE_BLOCK, SIMPLE_TYPES, splitSimpleRow } from './simple-blocks.js';

export interface DecodeSource {
  readonly type: BlockType;
  /** N. */
  readonly outFeatures: number;
  /** K, a multiple of the type's block. */
  readonly inFeatures: number;
  /** For messages: where the rows lie. */
  readonly file: string;
  readonly tensor: string;
  /** Byte offset of the first row in the file. */
  readonly offset: number;
  /** File row → row of the record. */
  readonly rowOrder?: RowOrder | undefined;
}

export interface RowDecoder {
  /** File rows from `first` on. FormatError naming the byte of a scale that is not finite. */
  decode(first: number, bytes: Uint8Array): void;
  /** Complete once every row has been decoded. */
  readonly record: QuantizedLinear;
}

export function createRowDecoder(source: DecodeSource): RowDecoder {
  const { type, inFeatures, rowOrder = (row: number): number => row } = source;
  const width = rowBytes(type, inFeatures);
  const { record, read } = rowReader(source);
  return {
    record,
    decode: (first, bytes) => {
      const units = viewBytes(bytes, Uint16Array);
      for (let i = 0; i * width < bytes.byteLength; i++) {
        const badBlock = read(rowOrder(first + i), units, (i * width) / 2);
        if (badBlock >= 0) throw notFinite(source, first + i, badBlock);
      }
    },
  };
}

/** Reads one row; returns the first block whose scale or minimum is not finite, or −1. */
type ReadRow = (row: number, input: Uint16Array, at: number) => number;

interface RowReader {
  readonly record: QuantizedLinear;
  readonly read: ReadRow;
}

function notFinite(
  { type, inFeatures, file, tensor, offset }: DecodeSource,
  row: number,
  block: number,
): FormatError {
  return new FormatError(`the scale or minimum of row ${row}, block ${block} (${type}) is not finite`, {
    file,
    tensor,
    offset: offset + row * rowBytes(type, inFeatures) + block * BLOCK_TYPES[type].bytes,
    advice: 'the file is damaged: download or make it again',
  });
}

function rowReader(source: DecodeSource): RowReader {
  switch (source.type) {
    case 'Q4_0':
    case 'Q4_1':
    case 'Q5_0':
    case 'Q5_1':
    case 'Q8_0':
      return simpleReader(source, source.type);
    case 'Q4_K':
    case 'Q6_K':
      return kReader(source, source.type);
    case 'Q5_K':
      return q5KReader(source);
    default:
      return source.type satisfies never;
  }
}

function simpleReader({ outFeatures, inFeatures }: DecodeSource, type: SimpleType): RowReader {
  const { bits, hasMin } = SIMPLE_TYPES[type];
  const blocks = inFeatures / SIMPLE_BLOCK;
  const record = affineRecord({ outFeatures, inFeatures, bits, hasMin });
  const row = {
    lanes: new Uint32Array(inFeatures / 4),
    scales: new Uint16Array(blocks),
    mins: new Uint16Array(hasMin ? blocks : 0),
  };
  const words = (inFeatures * bits) / 32;
  return {
    record,
    read: (index, input, at) => {
      splitSimpleRow(type, input, at, row);
      lanesToStream(row.lanes, bits, { words: record.codes, start: index * words });
      const bad = fromHalves(row.scales, record.scales, index * blocks);
      if (bad >= 0 || record.kind === 'affine') return bad;
      return fromHalves(row.mins, record.mins, index * blocks);
    },
  };
}

interface AffineShape {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly bits: 4 | 5 | 8;
  readonly hasMin: boolean;
}

function affineRecord({
  outFeatures,
  inFeatures,
  bits,
  hasMin,
}: AffineShape): AffineLinear | AffineMinLinear {
  const groups = outFeatures * (inFeatures / SIMPLE_BLOCK);
  const shared = {
    outFeatures,
    inFeatures,
    bits,
    groupSize: SIMPLE_BLOCK,
    codes: new Uint32Array((outFeatures * inFeatures * bits) / 32),
    scales: new Float32Array(groups),
    groupOf: Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / SIMPLE_BLOCK)),
  };
  if (hasMin) return { ...shared, kind: 'affine-min', mins: new Float32Array(groups) };
  return { ...shared, kind: 'affine', zeros: new Uint8Array(groups).fill(2 ** (bits - 1)) };
}

function kReader({ outFeatures, inFeatures }: DecodeSource, type: 'Q4_K' | 'Q6_K'): RowReader {
  const kind = type === 'Q4_K' ? 'q4_k' : 'q6_k';
  const { bits, subBlock } = K_QUANTS[kind];
  const blocks = inFeatures / SUPER_BLOCK;
  const subs = inFeatures / subBlock;
  const minRows = type === 'Q4_K' ? outFeatures : 0;
  const words = (inFeatures * bits) / 32;
  const record: KQuantLinear = {
    kind: 'k-quant',
    type: kind,
    outFeatures,
    inFeatures,
    codes: new Uint32Array(outFeatures * words),
    d: new Float32Array(outFeatures * blocks),
    dmin: new Float32Array(minRows * blocks),
    scales: new Int8Array(outFeatures * subs),
    mins: new Uint8Array(minRows * subs),
  };
  const lanes = new Uint32Array(inFeatures / 4);
  const halves = { d: new Uint16Array(blocks), dmin: new Uint16Array(minRows > 0 ? blocks : 0) };
  return {
    record,
    read: (index, input, at) => {
      const row = {
        lanes,
        ...halves,
        scales: record.scales.subarray(index * subs, (index + 1) * subs),
        mins: record.mins.subarray(index * subs, (index + 1) * subs),
      };
      if (type === 'Q4_K') splitQ45KRow(type, input, at, row);
      else splitQ6KRow(input, at, row);
      lanesToStream(lanes, bits, { words: record.codes, start: index * words });
      const bad = fromHalves(row.d, record.d, index * blocks);
      if (bad >= 0 || type === 'Q6_K') return bad;
      return fromHalves(row.dmin, record.dmin, index * blocks);
    },
  };
}

/** Five-bit codes with scale d·sc and minimum −dmin·m in float32: the products are exact, and what ggml computes with. */
function q5KReader({ outFeatures, inFeatures }: DecodeSource): RowReader {
  const record = affineRecord({ outFeatures, inFeatures, bits: 5, hasMin: true });
  const blocks = inFeatures / SUPER_BLOCK;
  const subs = inFeatures / SIMPLE_BLOCK;
  const words = (inFeatures * 5) / 32;
  const row = {
    lanes: new Uint32Array(inFeatures / 4),
    d: new Uint16Array(blocks),
    dmin: new Uint16Array(blocks),
    scales: new Int8Array(subs),
    mins: new Uint8Array(subs),
  };
  const d = new Float32Array(blocks);
  const dmin = new Float32Array(blocks);
  return {
    record,
    read: (index, input, at) => {
      splitQ45KRow('Q5_K', input, at, row);
      lanesToStream(row.lanes, 5, { words: record.codes, start: index * words });
      const bad = Math.max(fromHalves(row.d, d, 0), fromHalves(row.dmin, dmin, 0));
      if (bad >= 0) return bad;
      for (let sub = 0; sub < subs; sub++) {
        const block = sub >> 3;
        record.scales[index * subs + sub] = d[block] * row.scales[sub];
        if (record.kind === 'affine-min') record.mins[index * subs + sub] = -(dmin[block] * row.mins[sub]);
      }
      return -1;
    },
  };
}
