/**
 * Dense tensors on their way into a GGUF file: cast to float32 or float16, their rows in the file's order, or quantized
 * panel by panel. Memory: one chunk, or one panel with its codes.
 */
import type { CastTarget } from '../../core/cast-elements.js';
import { castElements, isCastSource } from '../../core/cast-elements.js';
import { DTYPE_BYTES } from '../../core/dtype.js';
import { Bug } from '../../core/errors.js';
import { createRowEncoder } from '../../formats/gguf/blocks/row-encoder.js';
import type { DenseSink, PlannedDense, QuantizeRows } from '../output-format.js';
import type { GgufPlace } from './gguf-layout.js';
import type { MainType } from './gguf-targets.js';
import { GRID_OF_TYPE } from './gguf-targets.js';
import type { HalfCheck } from './half-check.js';

/** Weights per panel: enough to fill a GPU, 16 MiB as float32. */
const PANEL_WEIGHTS = 4 * 1024 * 1024;

export interface DenseTarget {
  readonly place: GgufPlace;
  readonly tensor: PlannedDense;
  readonly quantizeRows: QuantizeRows;
  readonly halves: HalfCheck;
  readonly append: (bytes: Uint8Array) => Promise<void>;
}

export function createDenseSink(target: DenseTarget): DenseSink {
  const { type } = target.place.tensor;
  switch (type) {
    case 'F32':
    case 'F16':
      return castSink(target, type);
    case 'Q4_0':
    case 'Q4_1':
    case 'Q5_0':
    case 'Q8_0':
    case 'Q4_K':
    case 'Q6_K':
      return tableSink(target, type);
    default:
      throw new Bug(`internal: dense tensor ${target.tensor.name} planned as ${type}`);
  }
}

function castSink(target: DenseTarget, type: Extract<CastTarget, 'F32' | 'F16'>): DenseSink {
  const { place, tensor, halves, append } = target;
  let firstElement = 0;
  const cast = (bytes: Uint8Array): Uint8Array => {
    if (!isCastSource(tensor.dtype)) throw new Bug(`internal: ${tensor.name} of dtype ${tensor.dtype}`);
    const stored = castElements(bytes, tensor.dtype, type);
    if (type === 'F16' && tensor.dtype !== 'F16')
      halves.look({ name: tensor.name, dtype: tensor.dtype, bytes, firstElement }, stored);
    firstElement += bytes.byteLength / DTYPE_BYTES[tensor.dtype];
    return stored;
  };
  const { rowOrder } = place;
  if (rowOrder === undefined) return { append: (bytes) => append(cast(bytes)), end: () => Promise.resolve() };
  const { order, headDim } = rowOrder;
  return panelSink(tensor, headDim, async (panel) => {
    const stored = cast(panel);
    await append(reorder(stored, stored.byteLength / headDim, order));
  });
}

function reorder(bytes: Uint8Array, rowBytes: number, order: (row: number) => number): Uint8Array {
  const out = new Uint8Array(bytes.byteLength);
  for (let row = 0; row * rowBytes < bytes.byteLength; row++) {
    const from = order(row) * rowBytes;
    out.set(bytes.subarray(from, from + rowBytes), row * rowBytes);
  }
  return out;
}

function tableSink({ tensor, quantizeRows, append }: DenseTarget, type: MainType): DenseSink {
  const { name, dtype, shape } = tensor;
  const cols = shape[shape.length - 1];
  const rows = Math.max(1, Math.floor(PANEL_WEIGHTS / cols));
  return panelSink(tensor, rows, async (bytes) => {
    const record = await quantizeRows({ bytes, dtype, cols }, GRID_OF_TYPE[type]);
    await append(createRowEncoder(record, { type, name }).encode(0, record.outFeatures));
  });
}

/** Collects chunks into panels of `rows` rows, the last one what is left. */
function panelSink(
  { name, dtype, shape }: PlannedDense,
  rows: number,
  flush: (panel: Uint8Array) => Promise<void>,
): DenseSink {
  const rowBytes = shape.slice(1).reduce((total, dim) => total * dim, DTYPE_BYTES[dtype]);
  const panel = new Uint8Array(Math.min(rows, shape[0]) * rowBytes);
  let filled = 0;
  return {
    append: async (bytes) => {
      for (let done = 0; done < bytes.byteLength;) {
        const part = bytes.subarray(done, done + panel.byteLength - filled);
        panel.set(part, filled);
        done += part.byteLength;
        filled += part.byteLength;
        if (filled < panel.byteLength) continue;
        filled = 0;
        await flush(panel);
      }
    },
    end: async () => {
      if (filled % rowBytes !== 0) throw new Bug(`internal: ${name} ends within a row`);
      if (filled > 0) await flush(panel.slice(0, filled));
    },
  };
}
