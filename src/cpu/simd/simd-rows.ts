/**
 * Quantization of rows with the loops over elements in WebAssembly SIMD (row-module.ts) and what is done per group in
 * TypeScript. One instance serves one thread. Memory: one row in a few forms, kept between calls.
 */
import type { DenseDType } from '../../engine/tensor.js';
import type { Matrix } from '../matrix.js';
import type { CodebookBlocksArgs } from '../quant/codebook-blocks.js';
import type { QuantizeGroupsArgs } from '../quant/quantize-groups.js';
import { codebookTables } from './codebook-tables.js';
import { groupGrids } from './group-grids.js';
import { rowModuleBytes } from './row-module.js';
import type { RowModule } from './row-module.js';

const PAGE_BYTES = 65536;
/** Every room starts at a multiple of this and is this much longer than its contents. */
const ROOM_BYTES = 16;
/** The module works on four elements at a time. */
const LANES = 4;

/** One row in the module's memory: byte addresses and typed arrays on them. */
interface RowRooms {
  readonly rawAt: number;
  readonly raw: Uint16Array | Float32Array;
  readonly floatsAt: number;
  readonly floats: Float32Array;
  readonly rangesAt: number;
  readonly ranges: Float32Array;
  /** The third number of each range: the largest magnitude's bits. */
  readonly magnitudes: Uint32Array;
  readonly scalesAt: number;
  readonly scales: Float32Array;
  readonly scaleBits: Uint32Array;
  readonly zerosAt: number;
  readonly zeros: Float32Array;
  readonly topAt: number;
  readonly codesAt: number;
  readonly packedAt: number;
  readonly packed: Uint32Array;
  readonly packedBytes: Uint8Array;
  /** Codebooks: 15 floats, and the order of codes in 16 bytes. */
  readonly boundsAt: number;
  readonly orderAt: number;
}

/** Elements of blocks done together, small enough for the first-level cache. */
const RUN_ELEMS = 4096;
/** What 1/absmax is taken of at least, as in bitsandbytes. */
const LEAST_ABSMAX = Math.fround(1e-38);
const INFINITY_BITS = 0x7f800000;

/** Undefined where WebAssembly or its SIMD instructions are missing. */
export function createSimdRows(): SimdRows | undefined {
  if (typeof WebAssembly === 'undefined') return undefined;
  const bytes = rowModuleBytes();
  return WebAssembly.validate(bytes) ? new SimdRows(bytes) : undefined;
}

export class SimdRows {
  private readonly memory = new WebAssembly.Memory({ initial: 1 });
  private readonly module: RowModule;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: this.memory },
    });
    this.module = exports as unknown as RowModule;
  }

  /** As quantizeGroups (quant/quantize-groups.ts), bit for bit. False where it is not made for the arguments. */
  quantizeGroups(args: QuantizeGroupsArgs): boolean {
    const { w, groupSize, bits, scales, zeros } = args;
    const { data } = w;
    if (data instanceof Float64Array || groupSize % LANES !== 0) return false;
    if (!(scales.data instanceof Float32Array) || !(zeros.data instanceof Float32Array)) return false;
    const rooms = this.makeRooms(w.cols, groupSize, data);
    new Float32Array(this.memory.buffer, rooms.topAt, 1)[0] = 2 ** bits - 1;
    for (let i = 0; i < w.rows; i++) {
      const at = w.offset + i * w.stride;
      rooms.raw.set(data.subarray(at, at + w.cols));
      this.quantizeRow(args, rooms, i);
    }
    return true;
  }

  /** As codebookBlocks (quant/codebook-blocks.ts), bit for bit. False where it is not made for the arguments. */
  codebookBlocks(args: CodebookBlocksArgs): boolean {
    const { w, codebook, absmax } = args;
    const { data } = w;
    if (data instanceof Float64Array || !(absmax.data instanceof Float32Array)) return false;
    const most = Math.max(1, Math.floor(RUN_ELEMS / w.cols));
    const rooms = this.makeRooms(Math.min(most, w.rows) * w.cols, w.cols, data);
    const { bounds, order } = codebookTables(codebook);
    new Float32Array(this.memory.buffer, rooms.boundsAt, bounds.length).set(bounds);
    new Uint8Array(this.memory.buffer, rooms.orderAt, order.length).set(order);
    for (let first = 0; first < w.rows; first += most)
      this.quantizeRun(args, rooms, first, Math.min(most, w.rows - first));
    return true;
  }

  /** Blocks [first, first + blocks). */
  private quantizeRun(args: CodebookBlocksArgs, rooms: RowRooms, first: number, blocks: number): void {
    const { w, dtype, codes, absmax } = args;
    const { module } = this;
    const size = w.cols;
    const at = w.offset + first * size;
    const count = blocks * size;
    rooms.raw.set(w.data.subarray(at, at + count));
    this.widen(dtype, rooms, count);
    module.ranges(rooms.floatsAt, blocks, size, rooms.rangesAt);
    for (let i = 0; i < blocks; i++) {
      const largest = rooms.ranges[3 * i + 2];
      absmax.data[absmax.offset + first + i] = largest;
      rooms.scales[i] = 1 / (largest < LEAST_ABSMAX ? LEAST_ABSMAX : largest);
    }
    const { floatsAt, scalesAt, boundsAt, orderAt, codesAt, packedAt } = rooms;
    module.codebookCodes(floatsAt, blocks, size, scalesAt, boundsAt, orderAt, codesAt);
    module.packNibbles(codesAt, count, packedAt);
    codes.data.set(rooms.packedBytes.subarray(0, count / 2), codes.offset + (first * size) / 2);
  }

  private widen(dtype: DenseDType, { rawAt, floatsAt }: RowRooms, count: number): void {
    if (dtype === 'bf16') this.module.widenBf16(rawAt, floatsAt, count);
    if (dtype === 'f16') this.module.widenF16(rawAt, floatsAt, count);
  }

  private quantizeRow(args: QuantizeGroupsArgs, rooms: RowRooms, row: number): void {
    const { w, dtype, rule, bits, groupSize, minZero, nonFinite } = args;
    const { module } = this;
    const groups = w.cols / groupSize;
    this.widen(dtype, rooms, w.cols);
    module.ranges(rooms.floatsAt, groups, groupSize, rooms.rangesAt);
    const bad = holdsNonFinite(rooms.magnitudes, groups);
    nonFinite.data[nonFinite.offset + row * nonFinite.stride] = bad ? 1 : 0;
    if (bad) return;
    const { floats: values, ranges, scales, scaleBits, zeros } = rooms;
    groupGrids({ rule, bits, minZero, groups, groupSize, values, ranges, scales, scaleBits, zeros });
    module.affineCodes(
      rooms.floatsAt,
      groups,
      groupSize,
      rooms.scalesAt,
      rooms.zerosAt,
      rooms.topAt,
      rooms.codesAt,
    );
    module.packBits(rooms.codesAt, w.cols, bits, rooms.packedAt);
    store(args.packed, row, rooms.packed);
    store(args.scales, row, scales);
    store(args.zeros, row, zeros);
  }

  private makeRooms(cols: number, groupSize: number, data: Uint16Array | Float32Array): RowRooms {
    const groups = cols / groupSize;
    let bytes = 0;
    const room = (content: number): number => {
      const at = bytes;
      bytes += Math.ceil(content / ROOM_BYTES + 1) * ROOM_BYTES;
      return at;
    };
    const floatsAt = room(cols * 4);
    // Float32 rows need no widening: they are put where the widened ones go.
    const rawAt = data instanceof Float32Array ? floatsAt : room(cols * 2);
    const rangesAt = room(groups * 12);
    const scalesAt = room(groups * 4);
    const zerosAt = room(groups * 4);
    const topAt = room(4);
    const codesAt = room(cols);
    const packedAt = room(cols);
    const boundsAt = room(60);
    const orderAt = room(16);
    if (this.memory.buffer.byteLength < bytes)
      this.memory.grow(Math.ceil((bytes - this.memory.buffer.byteLength) / PAGE_BYTES));
    const { buffer } = this.memory;
    const floats = new Float32Array(buffer, floatsAt, cols);
    return {
      rawAt,
      raw: data instanceof Float32Array ? floats : new Uint16Array(buffer, rawAt, cols),
      floatsAt,
      floats,
      rangesAt,
      ranges: new Float32Array(buffer, rangesAt, groups * 3),
      magnitudes: new Uint32Array(buffer, rangesAt, groups * 3),
      scalesAt,
      scales: new Float32Array(buffer, scalesAt, groups),
      scaleBits: new Uint32Array(buffer, scalesAt, groups),
      zerosAt,
      zeros: new Float32Array(buffer, zerosAt, groups),
      topAt,
      codesAt,
      packedAt,
      packed: new Uint32Array(buffer, packedAt, Math.floor(cols / LANES)),
      packedBytes: new Uint8Array(buffer, packedAt, cols),
      boundsAt,
      orderAt,
    };
  }
}

function holdsNonFinite(magnitudes: Uint32Array, groups: number): boolean {
  for (let g = 0; g < groups; g++) if (magnitudes[3 * g + 2] >= INFINITY_BITS) return true;
  return false;
}

/** Row `row` of a matrix ← the first elements of `from`. */
function store<T extends Float32Array | Float64Array | Uint32Array>(
  to: Matrix<T>,
  row: number,
  from: Float32Array | Uint32Array,
): void {
  to.data.set(from.length === to.cols ? from : from.subarray(0, to.cols), to.offset + row * to.stride);
}
