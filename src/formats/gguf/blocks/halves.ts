/** Runs of float16 bits, as blocks store scales and minima, from and to float32 arrays; exact in both directions. */
import { f16ToF32, f32ToF16 } from '../../../core/dtype.js';

/**
 * Writes `out.length` values from `start` on as float16 bits, each value `repeat` times in a row. Returns the index of the
 * first value that float16 does not hold exactly (or that is not finite), or −1.
 */
export function toHalves(values: Float32Array, start: number, out: Uint16Array, repeat = 1): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset + 4 * start, out.length / repeat);
  for (let i = 0, at = 0; i < bits.length; i++) {
    const word = bits[i];
    const magnitude = word & 0x7fffffff;
    const sign = (word >>> 16) & 0x8000;
    let half = sign | ((magnitude - 0x38000000) >>> 13);
    const isNormal = magnitude >= 0x38800000 && magnitude <= 0x477fe000 && (magnitude & 0x1fff) === 0;
    if (!isNormal) {
      half = f32ToF16(values[start + i]);
      if (magnitude >= 0x7f800000 || f16ToF32(half) !== values[start + i]) return start + i;
    }
    for (const end = at + repeat; at < end; at++) out[at] = half;
  }
  return -1;
}

/** Float16 bits → values from `start` on. Returns the index of the first that is not finite, or −1. */
export function fromHalves(halves: Uint16Array, values: Float32Array, start: number): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset + 4 * start, halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const exponent = half & 0x7c00;
    if (exponent === 0x7c00) return i;
    if (exponent !== 0) bits[i] = ((half & 0x8000) << 16) | (((half & 0x7fff) << 13) + 0x38000000);
    else values[start + i] = f16ToF32(half);
  }
  return -1;
}
