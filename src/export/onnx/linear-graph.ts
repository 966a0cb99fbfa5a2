import { Bug } from '../../core/errors.js';
import { ONNX_TYPES } from '../../formats/onnx/onnx-model.js';
import type { GraphContext, QuantizedWeight } from './graph-context.js';
import { EMBEDDING, HEAD } from './graph-context.js';

export interface Linears {
  /** y = x·Wᵀ (+ bias) of a module, [batch, sequence, N]. */
  apply(input: string, module: string): string;
  /** Logits in the decoder's type: the head's own weight, or the embedding's. */
  head(input: string): string;
}

/** Names of the initializers of a linear on a grid. */
export function nbitsNames(module: string, bits: number): { weight: string; scales: string; zeros: string } {
  return {
    weight: `${module}.weight_Q${bits}`,
    scales: `${module}.weight_scales`,
    zeros: `${module}.weight_zero_points`,
  };
}

/** "/model/layers.0/mlp/up_proj" of "model.layers.0.mlp.up_proj": what node names look like. */
export function pathOf(module: string): string {
  return `/${module.replaceAll('.', '/').replace('layers/', 'layers.')}`;
}

export function createLinears(context: GraphContext): Linears {
  const { builder, weights } = context;
  const apply = (input: string, module: string): string => {
    const path = pathOf(module);
    const quantized = weights.quantized.get(module);
    const product =
      quantized === undefined
        ? dense(context, input, { path, weight: `${module}.weight` })
        : nbits(context, input, { path, module, quantized });
    const bias = `${module}.bias`;
    // Not MatMulNBits' own bias input: older runtimes and the WebGPU provider lack it, the others fuse the two.
    return weights.tensors.has(bias) ? builder.add(path, 'Add', { inputs: [product, bias] }) : product;
  };
  const separate = weights.quantized.has(HEAD) || weights.tensors.has(`${HEAD}.weight`);
  return {
    apply,
    head: (input) =>
      separate ? apply(input, HEAD) : dense(context, input, { path: '/lm_head', weight: EMBEDDING }),
  };
}

interface NbitsSpec {
  readonly path: string;
  readonly module: string;
  readonly quantized: QuantizedWeight;
}

function nbits({ builder }: GraphContext, input: string, { path, module, quantized }: NbitsSpec): string {
  const { outFeatures, inFeatures, bits, blockSize, symmetric } = quantized;
  const names = nbitsNames(module, bits);
  return builder.add(path, 'MatMulNBits', {
    inputs: [input, names.weight, names.scales, ...(symmetric ? [] : [names.zeros])],
    attributes: {
      K: { int: inFeatures },
      N: { int: outFeatures },
      bits: { int: bits },
      block_size: { int: blockSize },
    },
    microsoft: true,
  });
}

interface DenseSpec {
  readonly path: string;
  readonly weight: string;
}

/**
 * Gemm takes W [N, K] as it lies in the checkpoint; MatMul would need its transpose, which runtimes make at load time as a
 * second copy, and a head shared with the embedding would have to be stored twice. Gemm wants matrices, hence the reshapes.
 */
function dense(
  { builder, compute, weights }: GraphContext,
  input: string,
  { path, weight }: DenseSpec,
): string {
  const tensor = weights.tensors.get(weight);
  if (tensor === undefined) throw new Bug(`internal: the graph has no initializer "${weight}"`);
  const [outFeatures, inFeatures] = tensor.dims;
  const stored = tensor.type === compute ? weight : builder.widen(weight, ONNX_TYPES[compute]);
  const rows = builder.add(`${path}/rows`, 'Reshape', { inputs: [input, builder.int64([-1, inFeatures])] });
  const product = builder.add(path, 'Gemm', { inputs: [rows, stored], attributes: { transB: { int: 1 } } });
  const lengths = builder.add(`${path}/lengths`, 'Shape', { inputs: ['input_ids'] });
  const shape = builder.add(`${path}/shape`, 'Concat', {
    inputs: [lengths, builder.int64([outFeatures])],
    attributes: { axis: { int: 0 } },
  });
  return builder.add(path, 'Reshape', { inputs: [product, shape] });
}
