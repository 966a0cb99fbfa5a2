/**
 * The weights of a decoder under their Hugging Face names, found in a graph of ours or of the usual exporters
 * (onnxruntime-genai's builder, Optimum with transformers.js's conversion) by the names of nodes and initializers.
 */
import { product } from '../../core/dims.js';
import { FormatError, UserError } from '../../core/errors.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { NBitsShape } from './matmul-nbits.js';
import { blocksPerRow, isNBits, MIN_BLOCK, zeroRowBytes } from './matmul-nbits.js';
import type { StoredGraph, StoredNode, StoredTensor } from './read-onnx-model.js';

/** The tensors of one linear on a grid. */
export interface NBitsModule {
  readonly shape: NBitsShape;
  readonly weight: StoredTensor;
  readonly scales: StoredTensor;
  /** Absent: every zero point is 2^(bits−1). */
  readonly zeros: StoredTensor | undefined;
}

export interface DecoderWeights {
  /** By module path. */
  readonly quantized: ReadonlyMap<string, NBitsModule>;
  /** Dense tensors by their Hugging Face names. */
  readonly dense: ReadonlyMap<string, StoredTensor>;
}

const LINEAR = /^(?:model\.layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)|lm_head)$/;
const DENSE =
  /^(?:model\.embed_tokens\.weight|model\.norm\.weight|lm_head\.weight|model\.layers\.\d+\.(?:(?:input_layernorm|post_attention_layernorm|self_attn\.[qk]_norm)\.weight|(?:self_attn|mlp)\.\w+_proj\.(?:weight|bias)))$/;

/**
 * FormatError, listing all offenders, for quantized linears whose attributes and tensors disagree; UserError for those whose
 * place in the model nobody can tell, and for variants that halfbyte does not read.
 */
export function findDecoderWeights(graph: StoredGraph, file: string): DecoderWeights {
  const quantized = new Map<string, NBitsModule>();
  const nameless: string[] = [];
  const problems: string[] = [];
  const bad: StoredNode[] = [];
  for (const node of graph.nodes.filter(({ opType }) => opType === 'MatMulNBits')) {
    const module = moduleOf(node);
    if (module === undefined) nameless.push(node.name === '' ? 'a node without a name' : node.name);
    else {
      const found = quantized.has(module) ? 'another node holds its weight' : readModule(graph, node);
      if (typeof found !== 'string') quantized.set(module, found);
      else {
        problems.push(`${module}: ${found}`);
        bad.push(node);
      }
    }
  }
  if (problems.length > 0) {
    const name = bad[0].inputs.at(1) ?? '';
    const place = graph.tensors.get(name);
    throw new FormatError(`quantized linears that cannot be read:${listOffenders(problems)}`, {
      file: place?.file ?? file,
      tensor: name,
      ...(place === undefined ? {} : { offset: place.begin }),
      advice: 'the model is damaged or of a variant that halfbyte does not read: make it again',
    });
  }
  if (nameless.length > 0)
    throw new UserError(
      `${file}: the names of quantized nodes do not tell their place:${listOffenders(nameless)}`,
      {
        advice:
          'halfbyte reads its own ONNX folders and exports with one node per projection; use the original model',
      },
    );
  return { quantized, dense: findDense(graph) };
}

/** "model.layers.0.self_attn.q_proj" from the weight's or the node's name. */
function moduleOf(node: StoredNode): string | undefined {
  const fromWeight = (node.inputs.at(1) ?? '').replace(/(?:\.MatMul)?\.weight_Q\w+$/, '');
  const fromNode = node.name.split('/').slice(1, -1).join('.');
  return [fromWeight, fromNode]
    .map((name) => name.replace('.attn.', '.self_attn.'))
    .find((name) => LINEAR.test(name));
}

/** Exporters' names of dense tensors → Hugging Face's. */
function findDense(graph: StoredGraph): Map<string, StoredTensor> {
  const dense = new Map<string, StoredTensor>();
  for (const [name, tensor] of graph.tensors) {
    const known = name
      .replace('.attn.', '.self_attn.')
      .replace('_norm.layernorm.weight', '_norm.weight')
      .replace('.Add.bias', '.bias')
      .replace(/^model\.layers\.\d+\.final_norm_layernorm\./, 'model.norm.');
    if (DENSE.test(known)) dense.set(known, tensor);
  }
  return dense;
}

/** The module of a MatMulNBits node, or what is wrong with it. */
function readModule(graph: StoredGraph, node: StoredNode): NBitsModule | string {
  const attribute = (name: string, absent: number): number => node.integers.get(name) ?? absent;
  const bits = attribute('bits', 4);
  const sizes = {
    outFeatures: attribute('N', 0),
    inFeatures: attribute('K', 0),
    blockSize: attribute('block_size', 0),
  };
  const { outFeatures, inFeatures, blockSize } = sizes;
  if (!isNBits(bits)) return `${bits} bits; 2, 4 and 8 can be read`;
  if (![outFeatures, inFeatures].every((size) => Number.isSafeInteger(size) && size > 0))
    return `N ${outFeatures}, K ${inFeatures}`;
  if (!(blockSize >= MIN_BLOCK && blockSize <= 2 ** 30 && Number.isInteger(Math.log2(blockSize))))
    return `block_size ${blockSize}, a power of two of at least ${MIN_BLOCK} expected`;
  if ((inFeatures * bits) % 32 !== 0)
    return `K ${inFeatures}: rows of ${bits}-bit codes that fill no 32-bit words`;
  if ((node.inputs.at(4) ?? '') !== '') return 'a group index (g_idx), which onnxruntime has given up';
  const shape = { ...sizes, bits };
  const weight = graph.tensors.get(node.inputs.at(1) ?? '');
  const scales = graph.tensors.get(node.inputs.at(2) ?? '');
  if (weight === undefined || scales === undefined) return 'its weight or its scales are no initializers';
  const zeroName = node.inputs.at(3) ?? '';
  const zeros = zeroName === '' ? undefined : graph.tensors.get(zeroName);
  if (zeroName !== '' && zeros === undefined) return 'its zero points are no initializer';
  return checkShapes({ shape, weight, scales, zeros }) ?? { shape, weight, scales, zeros };
}

/** Tensors may be flat or in their full shape; the number of elements decides. */
function checkShapes({ shape, weight, scales, zeros }: NBitsModule): string | undefined {
  const blocks = blocksPerRow(shape);
  const need = (tensor: StoredTensor, types: readonly string[], elements: number): string | undefined => {
    if (!types.includes(tensor.type))
      return `"${tensor.name}" is ${tensor.type}, ${types.join(' or ')} expected`;
    if (product(tensor.dims) === elements) return undefined;
    return `"${tensor.name}" is [${tensor.dims.join(', ')}], ${elements} elements expected`;
  };
  return (
    need(weight, ['U8'], (shape.outFeatures * blocks * shape.blockSize * shape.bits) / 8) ??
    need(scales, ['F32', 'F16', 'BF16'], shape.outFeatures * blocks) ??
    (zeros === undefined ? undefined : need(zeros, ['U8'], shape.outFeatures * zeroRowBytes(shape)))
  );
}
