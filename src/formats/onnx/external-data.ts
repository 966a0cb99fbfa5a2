/**
 * Weights beside an .onnx file: one long file, or several where one would be too big for a browser. Offsets are decided
 * before any weight is known, so that tensors stream to disk in order. Memory: one row of the plan per tensor.
 */
import { product, roundUp } from '../../core/dims.js';
import type { OnnxTensor, OnnxType } from './onnx-model.js';
import { ONNX_TYPES } from './onnx-model.js';

export interface ExternalTensor {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
}

export interface ExternalPlan {
  /** In the order in which they are written, with their places. */
  readonly tensors: readonly (OnnxTensor & { readonly data: { readonly kind: 'external' } })[];
  /** File names relative to the .onnx file and their sizes. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** A page: lets runtimes map tensors instead of reading them. Small tensors would waste more than they win. */
const PAGE_BYTES = 4096;
const SMALL_BYTES = 65536;
const SMALL_ALIGNMENT = 64;

/** A browser's ArrayBuffer, and 32-bit runtimes, end at 2 GiB. */
export const MAX_CHUNK_BYTES = 2_000_000_000;

/** transformers.js's names: model_q4.onnx_data, model_q4.onnx_data_1 … (src/utils/model-loader.js). */
export function chunkName(modelFile: string, index: number): string {
  return `${modelFile}_data${index === 0 ? '' : `_${index}`}`;
}

/** Puts `tensors` one after the other; a tensor never crosses files, and one larger than `maxChunkBytes` has its own. */
export function planExternalData(
  tensors: readonly ExternalTensor[],
  { modelFile, maxChunkBytes }: { readonly modelFile: string; readonly maxChunkBytes: number },
): ExternalPlan {
  const files: { name: string; bytes: number }[] = [];
  const placed = tensors.map((tensor) => {
    const length = product(tensor.dims) * ONNX_TYPES[tensor.type].bytes;
    const last = files.at(-1);
    const aligned = roundUp(last?.bytes ?? 0, length >= SMALL_BYTES ? PAGE_BYTES : SMALL_ALIGNMENT);
    const fits = last !== undefined && aligned + length <= maxChunkBytes;
    const file = fits ? last : { name: chunkName(modelFile, files.length), bytes: 0 };
    if (!fits) files.push(file);
    const offset = fits ? aligned : 0;
    file.bytes = offset + length;
    return { ...tensor, data: { kind: 'external', location: file.name, offset, length } } as const;
  });
  return { tensors: placed, files };
}
