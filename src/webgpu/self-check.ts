import { f32ToBf16, f32ToF16 } from '../core/dtype.js';
import type { Engine } from '../engine/engine.js';
import { asMatrix, type Tensor } from '../engine/tensor.js';

export interface SelfCheckResult {
  readonly name: string;
  readonly ok: boolean;
  /** What was asked and what came back. */
  readonly detail: string;
}

interface Check {
  readonly name: string;
  /** Records the operations; returns the tensor that holds the answer. */
  readonly ask: (engine: Engine, own: (tensor: Tensor) => Tensor) => Tensor;
  /** Exact: every question is made of numbers that no rounding touches. */
  readonly expected: () => ArrayLike<number>;
}

/**
 * Asks an engine known answers: matrix product, reduction, detection of NaN, conversion of 16-bit floats, rounding to
 * float16, packing and unpacking. All answers are exact. The results are for `doctor`; an engine with a wrong one must
 * not be used.
 */
export async function selfCheck(engine: Engine): Promise<SelfCheckResult[]> {
  const results: SelfCheckResult[] = [];
  for (const check of CHECKS) results.push(await runCheck(engine, check));
  return results;
}

async function runCheck(engine: Engine, { name, ask, expected }: Check): Promise<SelfCheckResult> {
  const owned: Tensor[] = [];
  const own = (tensor: Tensor): Tensor => {
    owned.push(tensor);
    return tensor;
  };
  const answer = await engine.read(ask(engine, own));
  engine.free(...owned);
  const wanted = expected();
  for (let i = 0; i < wanted.length; i++)
    if (!(answer[i] === wanted[i]))
      return { name, ok: false, detail: `element ${i} is ${answer[i]}, expected ${wanted[i]}` };
  return { name, ok: true, detail: `${wanted.length} values exact` };
}

/** Small integers, so that sums of products stay exact in float32. */
function integers(count: number, factor: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => ((i * factor) % 17) - 8);
}

const [M, N, K] = [37, 41, 70];
const HALVES = Float32Array.of(1, -2.5, 65504, 2 ** -24, 2 ** -14, 0.333251953125, 0, -1536);
/** (hi − lo)/15 of each row lies between two float16 values, in the second row exactly in the middle. */
const RANGES = Float32Array.of(
  15 * (1 + 2 ** -12),
  15 * (1 + 2 ** -11),
  15 * (1 + 3 * 2 ** -11),
  15 * 2 ** -16,
);

const CHECKS: readonly Check[] = [
  {
    name: 'matrix product',
    ask: (engine, own) => {
      const a = own(engine.upload(integers(M * K, 3), [M, K], 'f32', 'check a'));
      const b = own(engine.upload(integers(N * K, 5), [N, K], 'f32', 'check b'));
      const c = own(engine.create([M, N], 'f32', 'check c'));
      engine.gemm({ a: asMatrix(a), b: asMatrix(b), c: asMatrix(c), transB: true });
      return c;
    },
    expected: () => {
      const [a, b] = [integers(M * K, 3), integers(N * K, 5)];
      return Float32Array.from({ length: M * N }, (_, e) => {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += a[Math.floor(e / N) * K + k] * b[(e % N) * K + k];
        return sum;
      });
    },
  },
  {
    name: 'reduction',
    ask: (engine, own) => {
      const x = own(engine.upload(integers(3 * 1001, 7), [3, 1001], 'f32', 'check x'));
      const to = own(engine.create([3], 'f32', 'check sums', { zero: true }));
      engine.addRowDots({ x: asMatrix(x), y: asMatrix(x), to });
      return to;
    },
    expected: () => {
      const x = integers(3 * 1001, 7);
      return [0, 1, 2].map((row) =>
        x.subarray(row * 1001, (row + 1) * 1001).reduce((sum, v) => sum + v * v, 0),
      );
    },
  },
  {
    name: 'detection of NaN',
    ask: (engine, own) => {
      const x = own(engine.upload(Float32Array.of(1, NaN, 2, 3, -Infinity, 0), [3, 2], 'f32', 'check x'));
      const count = own(engine.create([1], 'u32', 'check count', { zero: true }));
      engine.countNonFiniteRows({ x: asMatrix(x), count });
      return count;
    },
    expected: () => [2],
  },
  {
    name: 'float16 to float32',
    ask: (engine, own) => widen(engine, own, Uint16Array.from(HALVES, f32ToF16), 'f16'),
    expected: () => HALVES,
  },
  {
    name: 'bfloat16 to float32',
    ask: (engine, own) => widen(engine, own, Uint16Array.from(integers(16, 3), f32ToBf16), 'bf16'),
    expected: () => integers(16, 3),
  },
  {
    name: 'rounding to float16',
    ask: (engine, own) => {
      const w = own(
        engine.upload(Float32Array.from([...RANGES].flatMap((hi) => [0, hi])), [4, 2], 'f32', 'check w'),
      );
      const scales = own(engine.create([4, 1], 'f32', 'check scales'));
      const zeros = own(engine.create([4, 1], 'f32', 'check zeros'));
      engine.groupRange({
        w: asMatrix(w),
        bits: 4,
        groupSize: 2,
        rule: 'asymmetric',
        range: 'minmax',
        minZero: 0,
        scales,
        zeros,
        firstGroup: 0,
      });
      return scales;
    },
    // Ties go to the even neighbour: down for 1 + 2⁻¹¹, up for 1 + 3·2⁻¹¹.
    expected: () => [1, 1, 1 + 2 ** -9, 2 ** -16],
  },
  {
    name: 'packing and unpacking',
    ask: (engine, own) => {
      const codes = own(engine.upload(packedCodes(), [2, 32], 'u8', 'check codes'));
      const positionOf = own(
        engine.upload(
          Uint32Array.from({ length: 32 }, (_, k) => 31 - k),
          [32],
          'u32',
          'check order',
        ),
      );
      const packed = own(engine.create([2, 3], 'u32', 'check words'));
      const scales = own(engine.upload(Float32Array.of(0.5, 2, 1, 4), [2, 2], 'f32', 'check scales'));
      const zeros = own(engine.upload(Float32Array.of(4, 1, 3, 0), [2, 2], 'f32', 'check zeros'));
      const groupOf = own(
        engine.upload(
          Uint32Array.from({ length: 32 }, (_, k) => k % 2),
          [32],
          'u32',
          'check groups',
        ),
      );
      const out = own(engine.create([2, 32], 'f32', 'check values'));
      engine.packCodes({ codes, positionOf, bits: 3, packed });
      engine.dequantize({
        weight: { bits: 3, scales, zeros, groupOf, codes: packed, outFeatures: 2, inFeatures: 32 },
        out: asMatrix(out),
      });
      return out;
    },
    expected: () => {
      const [scales, zeros, codes] = [[0.5, 2, 1, 4], [4, 1, 3, 0], packedCodes()];
      return Float32Array.from({ length: 64 }, (_, e) => {
        const [row, k] = [e >> 5, e & 31];
        const group = 2 * row + (k % 2);
        return scales[group] * (codes[row * 32 + 31 - k] - zeros[group]);
      });
    },
  },
];

function packedCodes(): Uint8Array {
  return Uint8Array.from({ length: 64 }, (_, i) => (i * 5 + (i >> 3)) % 8);
}

function widen(
  engine: Engine,
  own: (tensor: Tensor) => Tensor,
  bits: Uint16Array,
  dtype: 'f16' | 'bf16',
): Tensor {
  const halves = own(engine.upload(bits, [1, bits.length], dtype, 'check halves'));
  const out = own(engine.create([1, bits.length], 'f32', 'check values'));
  engine.copy({ from: asMatrix(halves), to: asMatrix(out) });
  return out;
}
