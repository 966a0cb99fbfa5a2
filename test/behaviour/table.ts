import type { AffineLinear } from '../../src/core/quantized-linear.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import {
  accumulateHessian,
  createHessian,
  finishHessian,
  freeHessian,
  quantizeLinear,
  type QuantSpec,
  type QuantStats,
} from '../../src/quant/index.js';
import { readAffineLinear } from '../../src/quant/read-quantized-linear.js';
import { selfCheck } from '../../src/webgpu/self-check.js';
import { mismatch } from '../helpers/mismatch.js';
import { randomReals } from '../helpers/guarded.js';

/**
 * What halfbyte does on every platform: the same rows run in Node and in a browser. A row returns '' or what is wrong.
 * Platform-free: nothing of Node, nothing of the test runner.
 */
export interface Behaviour {
  readonly name: string;
  /** `judge` is the cpu engine in float64. */
  readonly run: (engine: Engine, judge: Engine) => Promise<string>;
}

const SPEC: QuantSpec = {
  method: 'gptq',
  bits: 4,
  groupSize: 32,
  rule: 'symmetric',
  order: 'natural',
  staticGroups: false,
  damp: 0.01,
  range: 'minmax',
  refine: 0,
  minZero: 1,
};

/** A layer [N, K] with correlated inputs: what GPTQ is good at. */
const [N, K, TOKENS] = [32, 96, 200];

interface Quantized {
  readonly layer: AffineLinear;
  readonly stats: QuantStats;
}

export const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'devices: the engine tells what it runs on and knows the answers',
    run: async (engine) => {
      const { info } = engine;
      if (info.engine === 'webgpu' && info.adapter === '') return 'no adapter name';
      if (!(engine.maxTensorBytes >= 128 << 20)) return `maxTensorBytes is ${engine.maxTensorBytes}`;
      const wrong = (await selfCheck(engine)).filter((check) => !check.ok);
      return wrong.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
    },
  },
  {
    name: 'matmul: 45 × 67 × 83 agrees with float64',
    run: async (engine, judge) => {
      const product = async (target: Engine): Promise<ArrayLike<number>> => {
        const a = target.upload(randomReals(45 * 83, 1), [45, 83], 'f32', 'a');
        const b = target.upload(randomReals(67 * 83, 2), [67, 83], 'f32', 'b');
        const c = target.create([45, 67], 'f32', 'c');
        target.gemm({ a: asMatrix(a), b: asMatrix(b), c: asMatrix(c), transB: true });
        const result = await target.read(c);
        target.free(a, b, c);
        return result;
      };
      return mismatch(await product(engine), await product(judge), { nmse: 1e-12 });
    },
  },
  {
    name: 'RTN of a small layer gives the codes of float64',
    run: async (engine, judge) => {
      const [mine, theirs] = [await quantize(engine, 'rtn'), await quantize(judge, 'rtn')];
      return sameGrid(mine, theirs) || sameCodes(mine, theirs, 1);
    },
  },
  {
    name: 'GPTQ of a small layer agrees with float64 and beats RTN',
    run: async (engine, judge) => {
      const [mine, theirs] = [await quantize(engine, 'gptq'), await quantize(judge, 'gptq')];
      const codes = sameCodes(mine, theirs, 0.995);
      if (codes !== '') return codes;
      const [loss, wanted, rtn] = [
        mine.stats.loss ?? NaN,
        theirs.stats.loss ?? NaN,
        mine.stats.rtnLoss ?? NaN,
      ];
      if (!(Math.abs(loss / wanted - 1) <= 0.01)) return `loss ${loss}, float64 has ${wanted}`;
      return loss < 0.9 * rtn ? '' : `loss ${loss} is not below RTN's ${rtn}`;
    },
  },
  {
    name: 'nothing is left behind',
    run: (engine) => {
      const { tensors } = engine.memory();
      return Promise.resolve(tensors === 0 ? '' : `${tensors} tensors are still alive`);
    },
  },
];

async function quantize(engine: Engine, method: 'gptq' | 'rtn'): Promise<Quantized> {
  const x = engine.upload(correlatedInputs(), [TOKENS, K], 'f32', 'x');
  const sum = createHessian(engine, K, 'small');
  accumulateHessian(engine, sum, asMatrix(x));
  engine.free(x);
  const hessian = await finishHessian(engine, sum, 'small');
  const tensor = engine.upload(randomReals(N * K, 5), [N, K], 'f32', 'w');
  const { weight, stats } = await quantizeLinear(engine, {
    name: 'small',
    weight: { kind: 'dense', tensor },
    outFeatures: N,
    inFeatures: K,
    hessian,
    spec: { ...SPEC, method },
  });
  const layer = await readAffineLinear(engine, weight, SPEC.groupSize);
  freeHessian(engine, hessian);
  engine.free(tensor, weight.codes, weight.scales, weight.zeros, weight.groupOf);
  return { layer, stats };
}

function correlatedInputs(): Float32Array {
  const x = randomReals(TOKENS * K, 3);
  for (let t = 0; t < TOKENS; t++)
    for (let k = 1; k < K; k++) x[t * K + k] = 0.9 * x[t * K + k - 1] + 0.45 * x[t * K + k];
  return x;
}

function sameGrid(mine: Quantized, theirs: Quantized): string {
  return mismatch(mine.layer.scales, theirs.layer.scales, { exact: true });
}

/** '' when at least `share` of the 4-bit codes are equal. */
function sameCodes(mine: Quantized, theirs: Quantized, share: number): string {
  const total = N * K;
  let equal = 0;
  for (let i = 0; i < total; i++) {
    const code = (words: Uint32Array): number => (words[i >> 3] >>> (4 * (i & 7))) & 15;
    if (code(mine.layer.codes) === code(theirs.layer.codes)) equal++;
  }
  return equal >= share * total ? '' : `${equal} of ${total} codes are equal, wanted ${share * 100} %`;
}
