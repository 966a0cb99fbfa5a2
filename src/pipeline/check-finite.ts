import type { DType } from '../core/dtype.js';
import { NumericError } from '../core/errors.js';
import { viewBytes } from '../io/byte-views.js';

/**
 * Index of the first NaN or infinity among little-endian elements, or −1. Tests exponent bits, so nothing is converted:
 * about a nanosecond per element. Integer dtypes are always finite.
 */
export function firstNonFinite(bytes: Uint8Array, dtype: DType): number {
  switch (dtype) {
    case 'F64': {
      const words = viewBytes(bytes, Uint32Array);
      for (let i = 1; i < words.length; i += 2) if ((words[i] & 0x7ff00000) === 0x7ff00000) return i >> 1;
      return -1;
    }
    case 'F32': {
      const words = viewBytes(bytes, Uint32Array);
      for (let i = 0; i < words.length; i++) if ((words[i] & 0x7f800000) === 0x7f800000) return i;
      return -1;
    }
    case 'F16':
      return firstWithAllBits(viewBytes(bytes, Uint16Array), 0x7c00);
    case 'BF16':
      return firstWithAllBits(viewBytes(bytes, Uint16Array), 0x7f80);
    case 'F8_E4M3':
      return firstWithAllBits(bytes, 0x7f);
    case 'F8_E5M2':
      return firstWithAllBits(bytes, 0x7c);
    case 'I64':
    case 'I32':
    case 'U32':
    case 'I16':
    case 'U16':
    case 'I8':
    case 'U8':
    case 'BOOL':
      return -1;
    default:
      return dtype satisfies never;
  }
}

function firstWithAllBits(elements: Uint16Array | Uint8Array, bits: number): number {
  for (let i = 0; i < elements.length; i++) if ((elements[i] & bits) === bits) return i;
  return -1;
}

export interface FiniteCheck {
  readonly tensor: string;
  readonly dtype: DType;
  /** Index of the first element of `bytes` inside the tensor. */
  readonly firstElement: number;
}

/** Throws NumericError naming the tensor and the flat index of its first NaN or infinity. */
export function assertFinite(bytes: Uint8Array, { tensor, dtype, firstElement }: FiniteCheck): void {
  const at = firstNonFinite(bytes, dtype);
  if (at < 0) return;
  throw new NumericError(`a finite ${dtype} number expected, NaN or infinity found`, {
    layer: tensor,
    step: 'reading weights',
    index: firstElement + at,
    advice: 'the checkpoint is damaged or its training diverged: fetch it again or use another one',
  });
}
