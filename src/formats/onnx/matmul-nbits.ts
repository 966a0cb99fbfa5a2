/**
 * Weights of onnxruntime's com.microsoft.MatMulNBits: y = A · dequantize(B)ᵀ with value = scale·(code − zero).
 *
 * | tensor | type | shape |
 * |---|---|---|
 * | B | U8 | [N, nb, bs·bits/8], nb = ⌈K/bs⌉; codes along K, least significant bits first, the last block filled up with 0 |
 * | scales | F32 or F16, as A | [N, nb] |
 * | zero points | U8 | [N, ⌈nb·bits/8⌉], packed like the codes, rows begin at a byte; absent: 2^(bits−1) |
 *
 * Source: onnxruntime docs/ContribOperators.md. Measured with onnxruntime 1.30 and 1.31 on the CPU: bits 2, 4, 8; blocks
 * 16 … 256; negative scales; a short last block.
 */
import { assert } from '../../core/errors.js';
import type { AffineLinear } from '../../core/quantized-linear.js';
import { bytesOf } from '../../io/byte-views.js';

export const NBITS_WIDTHS = [2, 4, 8] as const;
export type NBits = (typeof NBITS_WIDTHS)[number];

export function isNBits(bits: number): bits is NBits {
  return bits === 2 || bits === 4 || bits === 8;
}

/** What onnxruntime's CPU kernel takes. */
export const MIN_BLOCK = 16;
export const MAX_BLOCK = 256;

export interface NBitsShape {
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  readonly bits: NBits;
  readonly blockSize: number;
}

/** nb. */
export function blocksPerRow({
  inFeatures,
  blockSize,
}: Pick<NBitsShape, 'inFeatures' | 'blockSize'>): number {
  return Math.ceil(inFeatures / blockSize);
}

/** Bytes of one row's zero points. */
export function zeroRowBytes(shape: Omit<NBitsShape, 'outFeatures'>): number {
  return Math.ceil((blocksPerRow(shape) * shape.bits) / 8);
}

/**
 * The block in which groups of `groupSize` columns of K can be written: the group itself, or a power of two that divides
 * it, so that a group becomes several blocks of one scale. Undefined where there is none of at least 16.
 */
export function blockSizeFor(groupSize: number, inFeatures: number): number | undefined {
  let block = MAX_BLOCK;
  // One group per row: every block has its scale, whatever their size.
  const single = groupSize >= inFeatures;
  while (block >= MIN_BLOCK && (single ? block / 2 >= inFeatures : groupSize % block !== 0)) block /= 2;
  return single ? Math.max(block, MIN_BLOCK) : block >= MIN_BLOCK ? block : undefined;
}

export interface NBitsTensors {
  /** [N, nb, bs·bits/8]. */
  readonly weight: Uint8Array;
  /** [N, nb]. */
  readonly scales: Float32Array;
  /** [N, ⌈nb·bits/8⌉]. */
  readonly zeros: Uint8Array;
}

/** Host memory: the packed tensors. Groups must be runs of columns. */
export function encodeNBits(linear: AffineLinear, blockSize: number): NBitsTensors {
  const { outFeatures, inFeatures, bits, groupSize } = linear;
  assert(isNBits(bits), `${bits} bits for MatMulNBits`);
  const shape = { outFeatures, inFeatures, bits, blockSize };
  const blocks = blocksPerRow(shape);
  const groups = linear.scales.length / outFeatures;
  const group = Uint32Array.from({ length: blocks }, (_, block) =>
    Math.min(Math.floor((block * blockSize) / groupSize), groups - 1),
  );
  const scales = new Float32Array(outFeatures * blocks);
  const zeroBytes = zeroRowBytes(shape);
  const zeros = new Uint8Array(outFeatures * zeroBytes);
  for (let n = 0; n < outFeatures; n++) {
    for (let block = 0; block < blocks; block++) {
      const at = n * groups + group[block];
      scales[n * blocks + block] = linear.scales[at];
      zeros[n * zeroBytes + Math.floor((block * bits) / 8)] |= linear.zeros[at] << ((block * bits) % 8);
    }
  }
  return { weight: padRows(linear.codes, shape), scales, zeros };
}

/** Rows of a record lie end to end; those of B fill whole blocks. */
function padRows(codes: Uint32Array, { outFeatures, inFeatures, bits, blockSize }: NBitsShape): Uint8Array {
  const bytes = bytesOf(codes);
  const rowBytes = (inFeatures * bits) / 8;
  const paddedBytes = (blocksPerRow({ inFeatures, blockSize }) * blockSize * bits) / 8;
  if (rowBytes === paddedBytes) return bytes;
  const padded = new Uint8Array(outFeatures * paddedBytes);
  for (let n = 0; n < outFeatures; n++)
    padded.set(bytes.subarray(n * rowBytes, (n + 1) * rowBytes), n * paddedBytes);
  return padded;
}

/** Back to a record with groups of one block. K·bits must fill 32-bit words. */
export function decodeNBits(tensors: NBitsTensors, shape: NBitsShape): AffineLinear {
  const { outFeatures, inFeatures, bits, blockSize } = shape;
  const blocks = blocksPerRow(shape);
  const rowBytes = (inFeatures * bits) / 8;
  const paddedBytes = (blocks * blockSize * bits) / 8;
  const codes = new Uint32Array((outFeatures * inFeatures * bits) / 32);
  const zeros = new Uint8Array(outFeatures * blocks);
  const zeroBytes = zeroRowBytes(shape);
  for (let n = 0; n < outFeatures; n++) {
    bytesOf(codes).set(tensors.weight.subarray(n * paddedBytes, n * paddedBytes + rowBytes), n * rowBytes);
    for (let block = 0; block < blocks; block++) {
      const byte = tensors.zeros[n * zeroBytes + Math.floor((block * bits) / 8)];
      zeros[n * blocks + block] = (byte >> ((block * bits) % 8)) & (2 ** bits - 1);
    }
  }
  return {
    kind: 'affine',
    outFeatures,
    inFeatures,
    bits,
    groupSize: Math.min(blockSize, inFeatures),
    codes,
    scales: tensors.scales,
    zeros,
    groupOf: Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / blockSize)),
  };
}

/** Zero points as they are when none are stored. */
export function symmetricZeros(shape: NBitsShape): Uint8Array {
  const { bits } = shape;
  const middle = 2 ** (bits - 1);
  let byte = 0;
  for (let shift = 0; shift < 8; shift += bits) byte |= middle << shift;
  return new Uint8Array(shape.outFeatures * zeroRowBytes(shape)).fill(byte);
}
