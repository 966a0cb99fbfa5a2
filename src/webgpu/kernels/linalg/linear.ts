import { assert } from '../../../core/errors.js';
import type { CodebookWeight } from '../../../engine/codebook.js';
import type { LinearWeight, NnOps } from '../../../engine/nn.js';
import type { KernelContext } from '../../kernel-context.js';
import { launchGemm, type GemmOperand } from './gemm.js';
import { checkCodebookWeight } from '../quant/codebook-checks.js';
import { checksFor, checkView } from '../view-checks.js';

/** Linear layers: the matrix product with a loader for each form of weight, so that none is ever expanded in memory. */
export function createLinear(context: KernelContext): Pick<NnOps, 'linear'> {
  return {
    linear: ({ x, weight, bias, out }) => {
      const [n, k] = weightShape(weight);
      checkView('linear x', x, ['f32'], x.rows, k);
      checkView('linear out', out, ['f32'], x.rows, n);
      assert(
        bias === undefined || bias.shape.reduce((a, b) => a * b, 1) === n,
        `linear: bias has not ${n} elements`,
      );
      launchGemm(context, {
        m: x.rows,
        n,
        k,
        a: x,
        transA: false,
        b: weightOperand(weight, k),
        c: out,
        alpha: 1,
        beta: 0,
        ...(bias === undefined ? {} : { bias }),
      });
    },
  };
}

function weightShape(weight: LinearWeight): readonly [n: number, k: number] {
  if (weight.kind !== 'dense') return [weight.outFeatures, weight.inFeatures];
  const { shape, label } = weight.tensor;
  assert(shape.length === 2, `linear: ${label} has the shape [${shape.join(', ')}], expected [N, K]`);
  return [shape[0], shape[1]];
}

function weightOperand(weight: LinearWeight, k: number): GemmOperand {
  if (weight.kind === 'affine') {
    const words = (k * weight.bits) / 32;
    assert(Number.isInteger(words), `linear: ${k} codes of ${weight.bits} bits do not fill whole words`);
    return {
      flags: ['B_CODES'],
      constants: { BITS: weight.bits },
      tensor: weight.codes,
      offset: 0,
      stride: words,
      grid: [weight.scales, weight.zeros, weight.groupOf],
      groups: weight.scales.shape[weight.scales.shape.length - 1],
    };
  }
  if (weight.kind === 'codebook') return codebookOperand(weight, k);
  const { tensor } = weight;
  const fours = k % 4 === 0;
  const place = { tensor, offset: 0, stride: k };
  switch (tensor.dtype) {
    case 'f32':
      return { ...place, flags: ['B_REAL', 'TRANS_B', ...(fours ? ['B_VEC4'] : [])] };
    case 'f16':
      return { ...place, flags: ['B_HALF', ...(fours ? ['B_PAIRS'] : [])] };
    case 'bf16':
      return { ...place, flags: ['B_HALF', 'B_BF16', ...(fours ? ['B_PAIRS'] : [])] };
    default:
      assert(false, `linear: ${tensor.label} holds ${tensor.dtype}, expected f32, f16 or bf16`);
  }
}

function codebookOperand(weight: CodebookWeight, k: number): GemmOperand {
  checkCodebookWeight(checksFor('linear'), weight);
  return {
    flags: ['B_CODEBOOK'],
    tensor: weight.codes,
    offset: 0,
    stride: k,
    grid: [weight.absmax, weight.table],
    groups: Math.log2(weight.blockSize),
  };
}
