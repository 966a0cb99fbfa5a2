import { ceilDiv } from '../../../core/dims.js';
import { assert } from '../../../core/errors.js';
import type { GemmOptions, LinalgOps, Triangle } from '../../../engine/linalg.js';
import type { MatrixView, Tensor } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { chooseGemm, type GemmVariant } from './choose-gemm.js';
import { triangleParams } from './triangle-params.js';
import { checkView, startsAtFours } from '../view-checks.js';

/** The right operand in a form that a gemm text can read, with its flags and the tensors from binding 2 on. */
export interface GemmOperand {
  readonly flags: readonly string[];
  readonly constants?: Readonly<Record<string, number>>;
  /** Tensor at binding 2; absent when it is read through c. */
  readonly tensor?: Tensor;
  readonly offset: number;
  readonly stride: number;
  /** Tensors from binding 5 on, for codes: scales, zeros, groupOf; absmax, table. */
  readonly grid?: readonly Tensor[];
  readonly groups?: number;
}

/** One product c [m, n] ← alpha·a·b + beta·c (+ bias). */
export interface GemmLaunch {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: MatrixView;
  readonly transA: boolean;
  readonly b: GemmOperand;
  readonly c: MatrixView;
  readonly alpha: number;
  readonly beta: 0 | 1;
  readonly bias?: Tensor;
  readonly triangle?: Triangle;
}

export function createGemm(context: KernelContext): Pick<LinalgOps, 'gemm'> {
  return {
    gemm: (options) => {
      launchGemm(context, gemmLaunch(options));
    },
  };
}

/** Checks shapes and turns the contract's options into a launch. */
export function gemmLaunch(options: GemmOptions): GemmLaunch {
  const { a, b, c, transA = false, transB = false, alpha = 1, beta = 0, triangle } = options;
  const { rows: m, cols: n } = c;
  const k = transA ? a.rows : a.cols;
  assert(!(transA && transB), 'gemm: transA and transB together');
  checkView('gemm c', c, ['f32']);
  checkView('gemm a', a, ['f32'], transA ? k : m, transA ? m : k);
  checkView('gemm b', b, ['f32'], transB ? n : k, transB ? k : n);
  const inC = b.tensor === c.tensor;
  const flags = ['B_REAL'];
  if (transB) flags.push('TRANS_B');
  if (inC) flags.push('B_IN_C');
  else if (startsAtFours(b)) flags.push('B_VEC4');
  const operand: GemmOperand = {
    flags,
    offset: b.offset,
    stride: b.stride,
    ...(inC ? {} : { tensor: b.tensor }),
  };
  return { m, n, k, a, transA, b: operand, c, alpha, beta, ...(triangle === undefined ? {} : { triangle }) };
}

/** Records one product with the text that fits the device, or with `variant` (tests, bench). */
export function launchGemm(
  context: KernelContext,
  launch: GemmLaunch,
  variant: GemmVariant = chooseGemm(launch.m, launch.n, launch.k, context.facts),
): void {
  const { m, n, k, a, b, c, bias, triangle } = launch;
  if (m === 0 || n === 0) return;
  const tilesM = ceilDiv(m, variant.tile);
  const tilesN = ceilDiv(n, variant.tile);
  const aInC = a.tensor === c.tensor;
  context.dispatch({
    shader: variant.shader,
    flags: [...operandFlags(launch, aInC), ...b.flags],
    constants: b.constants ?? {},
    params: {
      m,
      n,
      k,
      a_offset: a.offset,
      a_stride: a.stride,
      b_offset: b.offset,
      b_stride: b.stride,
      c_offset: c.offset,
      c_stride: c.stride,
      ...triangleParams(triangle),
      tiles_m: tilesM,
      tiles_n: tilesN,
      beta: launch.beta,
      groups: b.groups ?? 0,
      alpha: launch.alpha,
    },
    tensors: [
      ...(aInC ? [] : [a.tensor]),
      ...(b.tensor === undefined ? [] : [b.tensor]),
      c.tensor,
      ...(bias === undefined ? [] : [bias]),
      ...(b.grid ?? []),
    ],
    workgroups: tilesM * tilesN,
  });
}

function operandFlags(launch: GemmLaunch, aInC: boolean): string[] {
  const { a, transA, bias } = launch;
  const flags: string[] = [];
  if (transA) flags.push('TRANS_A');
  if (aInC) flags.push('A_IN_C');
  else if (startsAtFours(a)) flags.push('A_VEC4');
  if (bias !== undefined) {
    flags.push('BIAS');
    if (bias.dtype !== 'f32') flags.push('BIAS_HALF');
    if (bias.dtype === 'bf16') flags.push('BIAS_BF16');
  }
  return flags;
}
