/** A tensor as it came out of a file, and its elements checked: for formats that read what other programs wrote. */
import { castElements } from '../core/cast-elements.js';
import type { DType } from '../core/dtype.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import { FormatError } from '../core/errors.js';
import { viewBytes } from '../io/byte-views.js';
import type { TensorInfo } from './safetensors/header.js';

export interface StoredTensor {
  readonly info: TensorInfo;
  /** All of the tensor, little-endian and row-major. */
  readonly bytes: Uint8Array;
}

/** Elements of I32 or U32, the bits unchanged. FormatError for other dtypes and for bytes that do not fill the shape. */
export function wordsOf(tensor: StoredTensor): Uint32Array {
  checkDType(tensor, ['I32', 'U32']);
  return viewBytes(tensor.bytes, Uint32Array);
}

/** Elements of F16, BF16 or F32 as float32. FormatError for other dtypes and at the first NaN or infinity. */
export function realsOf(tensor: StoredTensor): Float32Array {
  const { dtype } = tensor.info;
  checkDType(tensor, ['F16', 'BF16', 'F32']);
  if (dtype !== 'F16' && dtype !== 'BF16' && dtype !== 'F32') return new Float32Array(0);
  const values = viewBytes(castElements(tensor.bytes, dtype, 'F32'), Float32Array);
  for (let i = 0; i < values.length; i++) {
    // The difference is 0 for finite numbers and NaN for all others.
    if (values[i] - values[i] !== 0)
      throw elementError(tensor, i, `a finite number expected, ${values[i]} found`);
  }
  return values;
}

/** An error at element `index` of a tensor, with its byte offset in the file. */
export function elementError({ info }: StoredTensor, index: number, message: string): FormatError {
  return new FormatError(`element ${index}: ${message}`, {
    file: info.file,
    tensor: info.name,
    offset: info.begin + index * DTYPE_BYTES[info.dtype],
    advice: 'the file is damaged, or its config belongs to other weights: fetch both again',
  });
}

/** FormatError unless dtype is among those expected and the bytes are as many as the shape says. */
export function checkDType({ info, bytes }: StoredTensor, expected: readonly DType[]): void {
  const where = { file: info.file, tensor: info.name, offset: info.begin };
  if (!expected.includes(info.dtype)) {
    throw new FormatError(`dtype ${expected.join(' or ')} expected, ${info.dtype} found`, {
      ...where,
      advice: 'this variant of the format is not one halfbyte reads: convert it with the tool that made it',
    });
  }
  const expectedBytes = info.shape.reduce((total, dim) => total * dim, DTYPE_BYTES[info.dtype]);
  if (bytes.byteLength !== expectedBytes) {
    throw new FormatError(
      `${expectedBytes} bytes expected of shape [${info.shape.join(', ')}], ${bytes.byteLength} found`,
      {
        ...where,
        advice: 'the file is truncated: fetch it again',
      },
    );
  }
}
