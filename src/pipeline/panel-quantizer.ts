import { castElements, isCastSource } from '../core/cast-elements.js';
import type { DType } from '../core/dtype.js';
import { roundToF16 } from '../core/dtype.js';
import { Bug } from '../core/errors.js';
import type { AffineLinear, AffineMinLinear, Bits, GridSpec } from '../core/quantized-linear.js';
import { readReals } from '../engine/engine.js';
import type { Engine, HostArray } from '../engine/engine.js';
import type { RangeRule } from '../engine/quant.js';
import type { DenseDType, Tensor, TensorDType } from '../engine/tensor.js';
import { assertFinite } from './check-finite.js';

/** Rows of a matrix as they lie in a file. */
export interface Panel {
  /** Tensor name, for errors. */
  readonly tensor: string;
  readonly bytes: Uint8Array;
  readonly dtype: DType;
  /** First row inside the tensor. */
  readonly firstRow: number;
  readonly rows: number;
  readonly cols: number;
}

export interface PanelGrid {
  readonly rule: RangeRule;
  readonly bits: Bits;
  /** Columns per group, a divisor of the columns. */
  readonly groupSize: number;
  readonly minZero: 0 | 1;
}

/** A grid for rows of K columns that one pass can round to; undefined for others. */
export function panelGrid(
  { rule, bits, groupSize }: GridSpec,
  cols: number,
  minZero: 0 | 1 = 0,
): PanelGrid | undefined {
  if (rule === 'q4_k' || rule === 'q6_k') return undefined;
  const size = groupSize === -1 ? cols : groupSize;
  if (size % 4 !== 0 || cols % size !== 0 || (cols * bits) % 32 !== 0) return undefined;
  return { rule, bits, groupSize: size, minZero };
}

type AffineRecord = AffineLinear | AffineMinLinear;

/** A record being filled, panel by panel. */
export interface RecordInProgress {
  readonly record: AffineRecord;
  readonly grid: PanelGrid;
}

/** An empty record for a matrix [N, K]. Memory: what it will hold. */
export function beginRecord(
  { outFeatures, inFeatures }: { readonly outFeatures: number; readonly inFeatures: number },
  grid: PanelGrid,
): RecordInProgress {
  const { bits, groupSize, rule } = grid;
  const grids = outFeatures * (inFeatures / groupSize);
  const common = {
    outFeatures,
    inFeatures,
    bits,
    groupSize,
    codes: new Uint32Array((outFeatures * inFeatures * bits) / 32),
    scales: new Float32Array(grids),
    groupOf: Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize)),
  };
  const record: AffineRecord =
    rule === 'min'
      ? { kind: 'affine-min', ...common, mins: new Float32Array(grids) }
      : { kind: 'affine', ...common, zeros: new Uint8Array(grids) };
  return { record, grid };
}

/**
 * Rounds panels onto grids on an engine. Its tensors are made once and used for every panel that fits. Engine memory: the
 * largest panel and its results. The caller disposes of it.
 */
export class PanelQuantizer {
  private readonly tensors = new Map<string, Tensor>();

  /** `staging`: many panels will come. */
  constructor(
    private readonly engine: Engine,
    private readonly use: { readonly staging: boolean },
  ) {}

  /** Quantizes a panel into its rows of the record. NumericError naming the tensor and its first NaN or infinity. */
  async quantize(panel: Panel, { record, grid }: RecordInProgress): Promise<void> {
    const { engine } = this;
    const { rows, cols } = panel;
    const { data, dtype } = engineArray(panel.bytes, panel.dtype);
    const words = (cols * grid.bits) / 32;
    const groups = cols / grid.groupSize;
    const w = this.room('w', dtype, rows * cols);
    const packed = this.room('packed', 'u32', rows * words);
    const scales = this.room('scales', 'f32', rows * groups);
    const zeros = this.room('zeros', 'f32', rows * groups);
    const nonFinite = this.room('nonFinite', 'u32', rows);
    engine.write(w, data);
    engine.quantizeGroups({
      w: { tensor: w, rows, cols, offset: 0, stride: cols },
      ...grid,
      packed,
      scales,
      zeros,
      nonFinite,
    });
    const [bad, codes, madeScales, madeZeros] = await Promise.all([
      engine.read(nonFinite, 0, rows),
      engine.read(packed, 0, rows * words),
      readReals(engine, scales, 0, rows * groups),
      readReals(engine, zeros, 0, rows * groups),
    ]);
    if (bad.some((count) => count !== 0)) refuse(panel);
    record.codes.set(codes, panel.firstRow * words);
    const at = panel.firstRow * groups;
    record.scales.set(madeScales, at);
    if (record.kind === 'affine') record.zeros.set(madeZeros, at);
    else setMins(record.mins, at, madeScales, madeZeros);
  }

  dispose(): void {
    this.engine.free(...this.tensors.values());
    this.tensors.clear();
  }

  private room(name: string, dtype: TensorDType, elems: number): Tensor {
    const key = `${name} ${dtype}`;
    const found = this.tensors.get(key);
    if (found !== undefined && found.shape[0] >= elems) return found;
    if (found !== undefined) this.engine.free(found);
    const made = this.engine.create([elems], dtype, `panel ${name}`, this.use);
    this.tensors.set(key, made);
    return made;
  }
}

/** min = −scale·zero is a float16 value; a zero that went through float32 still tells which. */
function setMins(mins: Float32Array, at: number, scales: ArrayLike<number>, zeros: ArrayLike<number>): void {
  for (let i = 0; i < scales.length; i++) mins[at + i] = roundToF16(-scales[i] * zeros[i]);
}

function refuse({ tensor, bytes, dtype, firstRow, cols }: Panel): never {
  assertFinite(bytes, { tensor, dtype, firstElement: firstRow * cols });
  throw new Bug(`internal: ${tensor} is finite, and the engine says it is not`);
}

/** Elements of a checkpoint dtype as an engine takes them, exactly but for F64, which becomes float32. */
export function engineArray(
  bytes: Uint8Array,
  dtype: DType,
): { readonly data: HostArray; readonly dtype: DenseDType } {
  switch (dtype) {
    case 'F32':
      return { data: bytes, dtype: 'f32' };
    case 'F16':
      return { data: bytes, dtype: 'f16' };
    case 'BF16':
      return { data: bytes, dtype: 'bf16' };
    default:
      if (!isCastSource(dtype)) throw new Bug(`internal: weights of dtype ${dtype}`);
      return dtype === 'F64'
        ? { data: castElements(bytes, dtype, 'F32'), dtype: 'f32' }
        : { data: castElements(bytes, dtype, 'BF16'), dtype: 'bf16' };
  }
}
