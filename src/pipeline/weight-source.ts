/**
 * The weights of a checkpoint on an engine: dense tensors in their own dtype, quantized linears as codes on their grid.
 * Memory on the host: one read window (8 MiB); for a quantized linear its packed tensors, twice.
 */
import { throwIfAborted } from '../core/abort.js';
import { product } from '../core/dims.js';
import type { DType } from '../core/dtype.js';
import { dequantizeLinear } from '../core/dequantize-linear.js';
import type { QuantizedLinear } from '../core/quantized-linear.js';
import { DTYPE_BYTES, f32ToBf16, f8e4m3ToF32, f8e5m2ToF32 } from '../core/dtype.js';
import { FormatError } from '../core/errors.js';
import type { Engine, HostArray } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { planRowPanels } from '../engine/panels.js';
import type { DenseDType, Tensor } from '../engine/tensor.js';
import { TENSOR_DTYPE_BYTES } from '../engine/tensor.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { viewBytes } from '../io/byte-views.js';
import { DEFAULT_WINDOW_BYTES } from '../io/stream-chunks.js';
import type { WeightSource } from '../model/types.js';
import { assertFinite } from './check-finite.js';
import type { QuantizedReader } from './quantized-reader.js';
import { uploadRecord } from './upload-record.js';

export interface WeightSourceOptions {
  readonly checkpoint: Checkpoint;
  readonly engine: Engine;
  /** Set for quantized checkpoints. */
  readonly quantized?: QuantizedReader | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Rows [start, start + rows) of a tensor, and the engine tensor they go to. */
interface RowsToUpload {
  readonly name: string;
  readonly firstElement: number;
  readonly shape: readonly number[];
}

export function createWeightSource(options: WeightSourceOptions): WeightSource {
  const { checkpoint, engine, quantized, signal } = options;
  return {
    has: (name) => checkpoint.tensors.has(name) && quantized?.packing.has(name) !== true,
    dense: async (name, shape) => {
      checkShape(checkpoint, name, shape);
      return uploadRows(options, { name, firstElement: 0, shape });
    },
    densePanels: async (name, [rows, cols]) => {
      const module = name.replace(/\.weight$/, '');
      if (quantized?.modules.has(module) === true)
        return uploadExpanded(engine, await quantized.read(module, signal), name);
      checkShape(checkpoint, name, [rows, cols]);
      const rowBytes = cols * TENSOR_DTYPE_BYTES[engineDType(checkpoint, name)];
      const panels: Tensor[] = [];
      for (const panel of planRowPanels(rows, rowBytes, engine.maxTensorBytes, 2)) {
        const shape = [panel.rows, cols];
        panels.push(await uploadRows(options, { name, firstElement: panel.start * cols, shape }));
      }
      return panels;
    },
    linear: async (module, outFeatures, inFeatures): Promise<LinearWeight> => {
      throwIfAborted(signal);
      if (quantized?.modules.has(module) === true)
        return uploadRecord(engine, await quantized.read(module, signal), module);
      const name = `${module}.weight`;
      const shape = [outFeatures, inFeatures];
      checkShape(checkpoint, name, shape);
      return { kind: 'dense', tensor: await uploadRows(options, { name, firstElement: 0, shape }) };
    },
  };
}

/** A table that is stored quantized, as float32 panels: lookups need rows, not products. */
function uploadExpanded(engine: Engine, record: QuantizedLinear, name: string): Tensor[] {
  const { outFeatures, inFeatures } = record;
  return planRowPanels(outFeatures, inFeatures * 4, engine.maxTensorBytes, 2).map(({ start, rows }) =>
    engine.upload(dequantizeLinear(record, { first: start, rows }), [rows, inFeatures], 'f32', name),
  );
}

function checkShape(checkpoint: Checkpoint, name: string, shape: readonly number[]): void {
  const info = checkpoint.info(name);
  if (info.shape.length === shape.length && info.shape.every((dim, i) => dim === shape[i])) return;
  throw new FormatError(`shape [${shape.join(', ')}] expected, [${info.shape.join(', ')}] found`, {
    file: info.file,
    tensor: name,
    advice: 'config.json and the weights belong to different models: fetch both from the same place',
  });
}

/** The dtype a tensor has on an engine. FormatError where it is not a weight's dtype. */
function engineDType(checkpoint: Checkpoint, name: string): DenseDType {
  const info = checkpoint.info(name);
  switch (info.dtype) {
    case 'F64':
    case 'F32':
      return 'f32';
    case 'F16':
      return 'f16';
    case 'BF16':
    case 'F8_E4M3':
    case 'F8_E5M2':
      return 'bf16';
    case 'I64':
    case 'I32':
    case 'U32':
    case 'I16':
    case 'U16':
    case 'I8':
    case 'U8':
    case 'BOOL':
      throw new FormatError(`a weight of dtype F64, F32, F16, BF16 or F8 expected, ${info.dtype} found`, {
        file: info.file,
        tensor: name,
        advice: 'the checkpoint is quantized in a way halfbyte does not read: use the 16-bit original',
      });
    default:
      return info.dtype satisfies never;
  }
}

/** Streams rows window by window into a new tensor, looking for NaN on the way. */
async function uploadRows(
  { checkpoint, engine, signal }: WeightSourceOptions,
  { name, firstElement, shape }: RowsToUpload,
): Promise<Tensor> {
  const { dtype } = checkpoint.info(name);
  const width = DTYPE_BYTES[dtype];
  const count = product(shape);
  const tensor = engine.create(shape, engineDType(checkpoint, name), name);
  try {
    const windowElements = DEFAULT_WINDOW_BYTES / width;
    for (let done = 0; done < count; done += windowElements) {
      const elements = Math.min(windowElements, count - done);
      const range = { offset: (firstElement + done) * width, length: elements * width };
      const bytes = await checkpoint.readRange(name, range, signal);
      assertFinite(bytes, { tensor: name, dtype, firstElement: firstElement + done });
      engine.write(tensor, toEngineArray(bytes, dtype), done);
    }
  } catch (error) {
    engine.free(tensor);
    throw error;
  }
  return tensor;
}

/** Bytes of a checkpoint dtype as what `engine.write` takes; F64 is rounded by the engine, F8 widens exactly. */
function toEngineArray(bytes: Uint8Array, dtype: DType): HostArray {
  switch (dtype) {
    case 'F64':
      return viewBytes(bytes, Float64Array);
    case 'F8_E4M3':
      return Uint16Array.from(bytes, (bits) => f32ToBf16(f8e4m3ToF32(bits)));
    case 'F8_E5M2':
      return Uint16Array.from(bytes, (bits) => f32ToBf16(f8e5m2ToF32(bits)));
    default:
      return bytes;
  }
}
