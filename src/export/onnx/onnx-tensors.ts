/** Which tensors an ONNX decoder stores for the parts of a model, and in which types. */
import type { DType } from '../../core/dtype.js';
import { Bug } from '../../core/errors.js';
import type { ExternalTensor } from '../../formats/onnx/external-data.js';
import { blocksPerRow, blockSizeFor, isNBits, zeroRowBytes } from '../../formats/onnx/matmul-nbits.js';
import type { ModelConfig } from '../../model/types.js';
import type { ModelItem, PlannedDense, PlannedLinear } from '../output-format.js';
import type { ComputeType } from './graph-builder.js';
import type { QuantizedWeight } from './graph-context.js';
import { COS_CACHE, EMBEDDING, FINAL_NORM, HEAD, SIN_CACHE } from './graph-context.js';
import { nbitsNames } from './linear-graph.js';

/** The tables of RoPE, which no checkpoint holds. */
export function ropeCaches(config: ModelConfig, compute: ComputeType): ExternalTensor[] {
  const dims = [config.maxPositionEmbeddings, config.rope.rotaryDims / 2];
  return [COS_CACHE, SIN_CACHE].map((name) => ({ name, type: compute, dims }));
}

/** The grid of a linear as MatMulNBits sees it. */
export function quantizedWeight({ name, outFeatures, inFeatures, grid }: PlannedLinear): QuantizedWeight {
  if (grid.kind !== 'affine' || !isNBits(grid.bits))
    throw new Bug(`internal: a ${grid.kind} grid planned for MatMulNBits (${name})`);
  const blockSize = blockSizeFor(grid.groupSize, inFeatures);
  if (blockSize === undefined)
    throw new Bug(`internal: group size ${grid.groupSize} planned for MatMulNBits`);
  return { outFeatures, inFeatures, bits: grid.bits, blockSize, symmetric: grid.symmetric };
}

/** The tensors of one part, in the order in which they are written. */
export function tensorsOf(item: ModelItem, compute: ComputeType): ExternalTensor[] {
  if (item.kind === 'dense') {
    const { name, dtype, shape } = item.tensor;
    return [{ name, type: denseType({ dtype, shape }, compute), dims: shape }];
  }
  const weight = quantizedWeight(item.linear);
  const { outFeatures, bits, blockSize, symmetric } = weight;
  const blocks = blocksPerRow(weight);
  const names = nbitsNames(item.linear.name, bits);
  return [
    { name: names.weight, type: 'U8', dims: [outFeatures, blocks, (blockSize * bits) / 8] },
    { name: names.scales, type: compute, dims: [outFeatures, blocks] },
    ...(symmetric
      ? []
      : [{ name: names.zeros, type: 'U8', dims: [outFeatures, zeroRowBytes(weight)] } as const]),
  ];
}

/**
 * Norms and biases in the type of the computation. Matrices of 16 bits and fewer as float16, widened by the graph: every
 * provider has float16, few have bfloat16. Matrices of 32 bits keep them where the graph computes in them.
 */
export function denseType({ dtype, shape }: Omit<PlannedDense, 'name'>, compute: ComputeType): ComputeType {
  if (compute === 'F16' || shape.length < 2) return compute;
  return isWide(dtype) ? 'F32' : 'F16';
}

function isWide(dtype: DType): boolean {
  return dtype === 'F32' || dtype === 'F64';
}

/** Names of all tensors and linears that the graph of `config` reads; biases and the head only where there are any. */
export function graphParts(config: ModelConfig): {
  readonly required: string[];
  readonly optional: string[];
} {
  const required = [EMBEDDING];
  const optional: string[] = [];
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    const path = `model.layers.${layer}`;
    const linear = (name: string, bias: boolean): void => {
      required.push(`${path}.${name}`, ...(bias ? [`${path}.${name}.bias`] : []));
    };
    for (const name of ['q_proj', 'k_proj', 'v_proj']) linear(`self_attn.${name}`, config.attentionBias);
    linear('self_attn.o_proj', config.attentionOutBias);
    for (const name of ['gate_proj', 'up_proj', 'down_proj']) linear(`mlp.${name}`, config.mlpBias);
    required.push(`${path}.input_layernorm.weight`, `${path}.post_attention_layernorm.weight`);
    if (config.qkNorm) required.push(`${path}.self_attn.q_norm.weight`, `${path}.self_attn.k_norm.weight`);
  }
  required.push(FINAL_NORM);
  (config.tieWordEmbeddings ? optional : required).push(HEAD);
  return { required, optional };
}
