/**
 * One linear layer between the layout engines use and the tensors of a GPTQ checkpoint. Both pack codes along K as the
 * same bit stream, so qweight is the transposed word matrix; zeros are packed along N, scales transposed to float16.
 * Source of the layout: GPTQModel gptqmodel/nn_modules/qlinear/__init__.py, AutoGPTQ qlinear_cuda_old.py.
 * Memory: input plus output.
 */
import { packCodes, unpackCodes } from '../../core/code-stream.js';
import { f16ToF32, f32ToF16 } from '../../core/dtype.js';
import { FormatError } from '../../core/errors.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { GptqBits } from './gptq-config.js';
import { transpose } from './transpose.js';

/** `gptq` (v1) stores zero − 1, `gptq_v2` stores zero. */
export type GptqCheckpointFormat = 'gptq' | 'gptq_v2';

/** A quantized linear on the host: value = scale·(code − zero). Fits quant's record of the same fields. */
export interface GptqLayer {
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  readonly bits: GptqBits;
  /** [N, K·bits/32], codes of a row as one bit stream. */
  readonly codes: Uint32Array;
  /** [N, G], each representable in float16. */
  readonly scales: Float32Array;
  /** [N, G], true zero points 0 … 2^bits − 1. */
  readonly zeros: Uint8Array;
  /** [K]: group of each input column. */
  readonly groupOf: Uint32Array;
}

/** The tensors of a layer as they stand in the file, N and K as in GptqLayer, G groups. */
export interface GptqTensors {
  /** I32 [K·bits/32, N]. */
  readonly qweight: Uint32Array;
  /** I32 [G, N·bits/32]. */
  readonly qzeros: Uint32Array;
  /** F16 bits [G, N]. */
  readonly scales: Uint16Array;
  /** I32 [K]. */
  readonly gIdx: Int32Array;
}

/** Why a layer of this shape cannot be a GPTQ layer, or undefined. `groupSize` −1 stands for one group per row. */
export function gptqShapeProblem(shape: {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly groupSize: number;
  readonly bits: GptqBits;
}): string | undefined {
  const { outFeatures, inFeatures, groupSize, bits } = shape;
  if (inFeatures % 32 !== 0)
    return `in_features ${inFeatures} is not a multiple of 32, which ${bits}-bit packing needs`;
  if (outFeatures % 32 !== 0) {
    return `out_features ${outFeatures} is not a multiple of 32, which packing the zero points needs`;
  }
  if (groupSize === -1) return undefined;
  if (!Number.isInteger(groupSize) || groupSize < 1)
    return `group size ${groupSize} is neither −1 nor positive`;
  if (inFeatures % groupSize !== 0)
    return `group size ${groupSize} does not divide in_features ${inFeatures}`;
  return undefined;
}

/**
 * Engine layout → file tensors. FormatError names the layer and the first bad value: a scale that float16 does not hold,
 * a zero point out of range, or 0 in v1, which readers of v1 disagree about.
 */
export function encodeGptqLayer(layer: GptqLayer, name: string, format: GptqCheckpointFormat): GptqTensors {
  const { outFeatures, inFeatures, bits } = layer;
  const groups = checkLayer(layer, name, format);
  const wordRows = (inFeatures * bits) / 32;
  const qweight = new Uint32Array(layer.codes.length);
  transpose(layer.codes, qweight, outFeatures, wordRows);

  const scales = new Uint16Array(outFeatures * groups);
  transpose(halfBits(layer.scales, name), scales, outFeatures, groups);

  const stored = new Uint8Array(outFeatures * groups);
  transpose(layer.zeros, stored, outFeatures, groups);
  if (format === 'gptq') for (let i = 0; i < stored.length; i++) stored[i] -= 1;
  const wordsPerGroup = (outFeatures * bits) / 32;
  const qzeros = new Uint32Array(groups * wordsPerGroup);
  for (let g = 0; g < groups; g++) {
    qzeros.set(packCodes(stored.subarray(g * outFeatures, (g + 1) * outFeatures), bits), g * wordsPerGroup);
  }
  return { qweight, qzeros, scales, gIdx: Int32Array.from(layer.groupOf) };
}

/** Checks lengths and values; returns G. */
function checkLayer(layer: GptqLayer, name: string, format: GptqCheckpointFormat): number {
  const { outFeatures, inFeatures, bits, codes, scales, zeros, groupOf } = layer;
  const groups = scales.length / outFeatures;
  const problem =
    gptqShapeProblem({ outFeatures, inFeatures, bits, groupSize: -1 }) ??
    (codes.length !== (outFeatures * inFeatures * bits) / 32
      ? `${codes.length} words of codes, ${(outFeatures * inFeatures * bits) / 32} expected`
      : undefined) ??
    (Number.isInteger(groups) && groups >= 1 && zeros.length === scales.length
      ? undefined
      : `${scales.length} scales and ${zeros.length} zeros for ${outFeatures} rows`) ??
    (groupOf.length === inFeatures
      ? undefined
      : `${groupOf.length} entries of g_idx for ${inFeatures} columns`);
  if (problem !== undefined) throw layerError(name, problem);

  const badGroup = groupOf.findIndex((group) => group >= groups);
  if (badGroup >= 0)
    throw layerError(name, `column ${badGroup} is in group ${groupOf[badGroup]} of ${groups}`);
  const smallest = format === 'gptq' ? 1 : 0;
  const badZero = zeros.findIndex((zero) => zero < smallest || zero >= 2 ** bits);
  if (badZero >= 0) {
    const where = `row ${Math.floor(badZero / groups)}, group ${badZero % groups}`;
    throw layerError(
      name,
      `zero point ${zeros[badZero]} at ${where}: ${smallest} to ${2 ** bits - 1} can be stored in format "${format}"`,
      format === 'gptq'
        ? 'write checkpoint format gptq_v2, or quantize with zero points of at least 1'
        : undefined,
    );
  }
  return groups;
}

/** Float16 bits of scales [N, G]; each must be finite and survive the conversion unchanged. */
function halfBits(scales: Float32Array, name: string): Uint16Array {
  const halves = new Uint16Array(scales.length);
  for (let i = 0; i < scales.length; i++) {
    const half = f32ToF16(scales[i]);
    if (!Number.isFinite(scales[i]) || f16ToF32(half) !== scales[i]) {
      throw layerError(name, `scale ${scales[i]} at element ${i} is no float16 value`);
    }
    halves[i] = half;
  }
  return halves;
}

function layerError(name: string, message: string, advice?: string): FormatError {
  return new FormatError(message, {
    file: 'GPTQ layer',
    tensor: name,
    ...(advice === undefined ? {} : { advice }),
  });
}

export interface DecodeRequest {
  readonly name: string;
  readonly bits: GptqBits;
  readonly format: GptqCheckpointFormat;
  /** Where the tensors come from, for messages. */
  readonly file: string;
}

/**
 * File tensors → engine layout. FormatError lists what does not fit together. A v1 field of 2^bits − 1 is read as zero
 * point 0 (modulo 2^bits, as AutoGPTQ's qlinear_cuda_old and GPTQModel's per-field conversion do).
 */
export function decodeGptqLayer(tensors: GptqTensors, request: DecodeRequest): GptqLayer {
  const { bits, name, file } = request;
  const inFeatures = tensors.gIdx.length;
  const wordRows = (inFeatures * bits) / 32;
  const outFeatures = tensors.qweight.length / wordRows;
  const groups = tensors.scales.length / outFeatures;
  const problems: string[] = [];
  if (!Number.isInteger(wordRows) || !Number.isInteger(outFeatures) || outFeatures < 1) {
    problems.push(
      `${tensors.qweight.length} words of qweight do not fit ${inFeatures} columns of ${bits} bits`,
    );
  } else if (!Number.isInteger(groups) || groups < 1) {
    problems.push(`${tensors.scales.length} scales do not fit ${outFeatures} rows`);
  } else if (outFeatures % 32 !== 0 || tensors.qzeros.length !== (groups * outFeatures * bits) / 32) {
    problems.push(
      `${tensors.qzeros.length} words of qzeros do not fit ${groups} groups of ${outFeatures} rows`,
    );
  }
  const badGroup = tensors.gIdx.findIndex((group) => group < 0 || !(group < groups));
  if (badGroup >= 0 && problems.length === 0) {
    problems.push(`g_idx[${badGroup}] is ${tensors.gIdx[badGroup]}, there are ${groups} groups`);
  }
  if (problems.length > 0) {
    throw new FormatError(`the GPTQ tensors do not fit together:${listOffenders(problems)}`, {
      file,
      tensor: name,
      advice: 'check that quantize_config.json belongs to these weights (bits, group_size)',
    });
  }
  const codes = new Uint32Array(tensors.qweight.length);
  transpose(tensors.qweight, codes, wordRows, outFeatures);
  const scales = new Float32Array(tensors.scales.length);
  transpose(Float32Array.from(tensors.scales, f16ToF32), scales, groups, outFeatures);
  const zeros = new Uint8Array(scales.length);
  transpose(
    unpackZeros(tensors.qzeros, { bits, groups, outFeatures, format: request.format }),
    zeros,
    groups,
    outFeatures,
  );
  return { outFeatures, inFeatures, bits, codes, scales, zeros, groupOf: Uint32Array.from(tensors.gIdx) };
}

interface ZeroLayout {
  readonly bits: GptqBits;
  readonly groups: number;
  readonly outFeatures: number;
  readonly format: GptqCheckpointFormat;
}

/** True zero points [G, N]. */
function unpackZeros(qzeros: Uint32Array, { bits, groups, outFeatures, format }: ZeroLayout): Uint8Array {
  const wordsPerGroup = (outFeatures * bits) / 32;
  const zeros = new Uint8Array(groups * outFeatures);
  for (let g = 0; g < groups; g++) {
    zeros.set(unpackCodes(qzeros, bits, outFeatures, g * wordsPerGroup), g * outFeatures);
  }
  const mask = 2 ** bits - 1;
  if (format === 'gptq') for (let i = 0; i < zeros.length; i++) zeros[i] = (zeros[i] + 1) & mask;
  return zeros;
}
