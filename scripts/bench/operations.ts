import type { Engine } from '../../src/engine/engine.js';
import { asMatrix, subMatrix } from '../../src/engine/tensor.js';
import type { Tensor } from '../../src/engine/tensor.js';
import type { Ceilings } from './ceilings.js';
import { bestSeconds, randomBf16, randomTensor } from './measure.js';

/** Shapes of the model whose layer is measured. */
export interface Shape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly tokens: number;
}

/** One hot operation: what it must at least compute and move, and what it took. */
export interface OperationResult {
  readonly operation: string;
  readonly seconds: number;
  readonly flops: number;
  readonly bytes: number;
  /** Share of the ceiling that binds it (the larger of computing time and moving time, over the measured time). */
  readonly share: number;
  readonly boundBy: 'multiply-adds' | 'memory';
}

interface Case {
  readonly operation: string;
  readonly flops: number;
  readonly bytes: number;
  /** Allocates; returns what to record and what to free. */
  readonly prepare: (engine: Engine) => { record: () => void; tensors: Tensor[] };
}

const F32 = 4;
const GROUP = 128;

export async function measureOperations(
  engine: Engine,
  shape: Shape,
  ceilings: Ceilings,
): Promise<OperationResult[]> {
  const results: OperationResult[] = [];
  for (const { operation, flops, bytes, prepare } of [
    ...productCases(shape),
    ...rowCases(shape),
    ...quantCases(shape),
  ]) {
    const { record, tensors } = prepare(engine);
    const seconds = await bestSeconds(engine, record, 2);
    engine.free(...tensors);
    const computing = flops / ceilings.flops;
    const moving = bytes / ceilings.copyBytes;
    results.push({
      operation,
      seconds,
      flops,
      bytes,
      share: Math.max(computing, moving) / seconds,
      boundBy: computing > moving ? 'multiply-adds' : 'memory',
    });
  }
  return results;
}

function productCases({ hidden, intermediate, tokens }: Shape): Case[] {
  return [
    {
      operation: `gemm A·Bᵀ f32 ${tokens}×${hidden}×${hidden}`,
      flops: 2 * tokens * hidden * hidden,
      bytes: F32 * (2 * tokens * hidden + hidden * hidden),
      prepare: (engine) => {
        const [a, b, c] = [
          randomTensor(engine, [tokens, hidden], 1),
          randomTensor(engine, [hidden, hidden], 2),
          randomTensor(engine, [tokens, hidden], 3),
        ];
        const record = (): void =>
          engine.gemm({ a: asMatrix(a), b: asMatrix(b), c: asMatrix(c), transB: true });
        return { record, tensors: [a, b, c] };
      },
    },
    {
      operation: `linear bf16 ${tokens}×${hidden}→${intermediate}`,
      flops: 2 * tokens * hidden * intermediate,
      bytes: F32 * tokens * (hidden + intermediate) + 2 * hidden * intermediate,
      prepare: (engine) => {
        const [x, out] = [
          randomTensor(engine, [tokens, hidden], 1),
          randomTensor(engine, [tokens, intermediate], 2),
        ];
        const tensor = engine.upload(
          randomBf16(hidden * intermediate, 3, 0.05),
          [intermediate, hidden],
          'bf16',
          'weight',
        );
        const record = (): void =>
          engine.linear({ x: asMatrix(x), weight: { kind: 'dense', tensor }, out: asMatrix(out) });
        return { record, tensors: [x, out, tensor] };
      },
    },
    {
      operation: `Hessian Xᵀ·X ${tokens} rows, K ${hidden}, upper triangle`,
      flops: tokens * hidden * hidden,
      bytes: F32 * (tokens * hidden + hidden * hidden),
      prepare: (engine) => {
        const [x, h] = [randomTensor(engine, [tokens, hidden], 1), randomTensor(engine, [hidden, hidden], 2)];
        const triangle = { part: 'upper', rowOffset: 0 } as const;
        const record = (): void =>
          engine.gemm({ a: asMatrix(x), b: asMatrix(x), c: asMatrix(h), transA: true, triangle });
        return { record, tensors: [x, h] };
      },
    },
  ];
}

function rowCases({ hidden, intermediate, heads, kvHeads, tokens }: Shape): Case[] {
  const headDim = hidden / heads;
  return [
    {
      operation: `attention ${tokens} tokens, ${heads}/${kvHeads} heads of ${headDim}`,
      flops: 2 * tokens * tokens * hidden,
      bytes: F32 * tokens * (2 * hidden + 2 * kvHeads * headDim),
      prepare: (engine) => {
        const [q, out] = [1, 2].map((seed) => randomTensor(engine, [tokens, hidden], seed));
        const [k, v] = [3, 4].map((seed) => randomTensor(engine, [tokens, kvHeads * headDim], seed));
        const views = { q: asMatrix(q), k: asMatrix(k), v: asMatrix(v), out: asMatrix(out) };
        const record = (): void =>
          engine.attention({ ...views, seqLen: tokens, heads, kvHeads, headDim, scale: headDim ** -0.5 });
        return { record, tensors: [q, k, v, out] };
      },
    },
    {
      operation: `rmsNorm ${tokens}×${hidden}`,
      flops: 4 * tokens * hidden,
      bytes: 2 * F32 * tokens * hidden,
      prepare: (engine) => {
        const [x, out, weight] = [
          randomTensor(engine, [tokens, hidden], 1),
          randomTensor(engine, [tokens, hidden], 2),
          randomTensor(engine, [hidden], 3),
        ];
        const record = (): void => engine.rmsNorm({ x: asMatrix(x), weight, eps: 1e-5, out: asMatrix(out) });
        return { record, tensors: [x, out, weight] };
      },
    },
    {
      operation: `siluMul ${tokens}×${intermediate}`,
      flops: 4 * tokens * intermediate,
      bytes: 3 * F32 * tokens * intermediate,
      prepare: (engine) => {
        const [gate, up, out] = [1, 2, 3].map((seed) => randomTensor(engine, [tokens, intermediate], seed));
        const record = (): void =>
          engine.siluMul({ gate: asMatrix(gate), up: asMatrix(up), out: asMatrix(out) });
        return { record, tensors: [gate, up, out] };
      },
    },
  ];
}

/** A factored block: unit-sized diagonal, small below. */
function factorBlock(engine: Engine): Tensor {
  const data = new Float32Array(GROUP * GROUP);
  for (let i = 0; i < GROUP; i++)
    for (let j = 0; j <= i; j++)
      data[i * GROUP + j] = i === j ? 1 + (i % 7) / 10 : 0.03 * Math.sin(i * 13 + j * 7);
  return engine.upload(data, [GROUP, GROUP], 'f32', 'factor');
}

function quantCases({ hidden, intermediate }: Shape): Case[] {
  const rows = intermediate;
  const elements = rows * GROUP;
  return [
    {
      operation: `groupRange ${rows}×${hidden}, g ${GROUP}`,
      flops: 2 * rows * hidden,
      bytes: F32 * rows * hidden,
      prepare: (engine) => {
        const [w, scales, zeros] = [
          randomTensor(engine, [rows, hidden], 1, 0.05),
          randomTensor(engine, [rows, hidden / GROUP], 2),
          randomTensor(engine, [rows, hidden / GROUP], 3),
        ];
        const grid = { bits: 4, groupSize: GROUP, rule: 'symmetric', range: 'minmax', minZero: 1 } as const;
        const record = (): void =>
          engine.groupRange({ w: asMatrix(w), ...grid, scales, zeros, firstGroup: 0 });
        return { record, tensors: [w, scales, zeros] };
      },
    },
    {
      operation: `gptqBlock ${rows}×${GROUP}`,
      flops: elements * GROUP,
      bytes: F32 * 3 * elements + elements,
      prepare: (engine) => {
        const [w, carried, error] = [1, 2, 3].map((seed) => randomTensor(engine, [rows, GROUP], seed, 0.05));
        const scales = engine.upload(new Float32Array(rows).fill(0.0067), [rows, 1], 'f32', 'scales');
        const zeros = engine.upload(new Float32Array(rows).fill(8), [rows, 1], 'f32', 'zeros');
        const groupOf = engine.upload(new Uint32Array(GROUP), [GROUP], 'u32', 'groups');
        const [codes, losses, l] = [
          engine.create([rows, GROUP], 'u8', 'codes'),
          engine.create([rows], 'f32', 'losses', { zero: true }),
          factorBlock(engine),
        ];
        const views = {
          w: asMatrix(w),
          carried: asMatrix(carried),
          error: asMatrix(error),
          codes: asMatrix(codes),
          l: asMatrix(l),
        };
        const record = (): void =>
          engine.gptqBlock({ ...views, bits: 4, scales, zeros, groupOf, firstColumn: 0, losses });
        return { record, tensors: [w, carried, error, scales, zeros, groupOf, codes, losses, l] };
      },
    },
    {
      operation: `solveLeft ${GROUP}×${hidden}`,
      flops: GROUP * GROUP * hidden,
      bytes: 2 * F32 * GROUP * hidden,
      prepare: (engine) => {
        const [l, x] = [factorBlock(engine), randomTensor(engine, [GROUP, hidden], 2)];
        const record = (): void =>
          engine.solveLeft({ l: asMatrix(l), x: subMatrix(asMatrix(x), 0, GROUP, 0, hidden) });
        return { record, tensors: [l, x] };
      },
    },
  ];
}
