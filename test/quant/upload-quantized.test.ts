// Plan: records of every kind with everything their files may hold (negative and zero scales, minima far from 0, scattered
// groups, codes that straddle words) become weights that an engine expands, and multiplies by, as core does.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packCodes } from '../../src/core/code-stream.js';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { roundToF16 } from '../../src/core/dtype.js';
import type { AffineLinear, AffineMinLinear, Bits, KQuantLinear } from '../../src/core/quantized-linear.js';
import { createRng } from '../../src/core/rng.js';
import type { Engine } from '../../src/engine/engine.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { uploadQuantized } from '../../src/quant/index.js';
import { describeEngines } from '../helpers/engines.js';

type Uploadable = AffineLinear | AffineMinLinear | KQuantLinear;

const rng = createRng(91);
const [N, K] = [7, 512];

function codesOf(bits: Bits): Uint32Array {
  const rows = Array.from({ length: N }, () =>
    packCodes(
      Array.from({ length: K }, () => rng.int(2 ** bits)),
      bits,
    ),
  );
  return Uint32Array.from(rows.flatMap((row) => Array.from(row)));
}

const halves = (count: number, next: () => number): Float32Array =>
  Float32Array.from({ length: count }, () => roundToF16(next()));

function affine(bits: Bits): AffineLinear {
  const groups = K / 32;
  return {
    kind: 'affine',
    outFeatures: N,
    inFeatures: K,
    bits,
    groupSize: 32,
    codes: codesOf(bits),
    scales: halves(N * groups, () => rng.normal() * 0.1).map((scale, i) => (i % 5 === 0 ? 0 : scale)),
    zeros: Uint8Array.from({ length: N * groups }, () => rng.int(2 ** bits)),
    groupOf: Uint32Array.from({ length: K }, () => rng.int(groups)),
  };
}

function affineMin(bits: Bits): AffineMinLinear {
  const { zeros, ...rest } = affine(bits);
  const mins = halves(zeros.length, () => rng.normal() * 10 ** (rng.int(5) - 3));
  return { ...rest, kind: 'affine-min', mins: mins.map((min, i) => (i % 7 === 0 ? 0 : min)) };
}

function kQuant(type: 'q4_k' | 'q6_k'): KQuantLinear {
  const blocks = (N * K) / 256;
  const subs = blocks * (type === 'q4_k' ? 8 : 16);
  return {
    kind: 'k-quant',
    type,
    outFeatures: N,
    inFeatures: K,
    codes: codesOf(type === 'q4_k' ? 4 : 6),
    d: halves(blocks, () => rng.normal() * 0.01),
    dmin: type === 'q4_k' ? halves(blocks, () => rng.normal() * 0.01) : new Float32Array(0),
    scales: Int8Array.from({ length: subs }, (_, i) =>
      i % 6 === 0 ? 0 : type === 'q4_k' ? rng.int(64) : rng.int(256) - 128,
    ),
    mins: Uint8Array.from({ length: type === 'q4_k' ? subs : 0 }, () => rng.int(64)),
  };
}

const RECORDS: readonly (readonly [string, () => Uploadable])[] = [
  ...([2, 3, 4, 5, 6, 8] as const).flatMap((bits) => [
    [`affine, ${bits} bits`, () => affine(bits)] as const,
    [`affine-min, ${bits} bits`, () => affineMin(bits)] as const,
  ]),
  ['q4_k', () => kQuant('q4_k')],
  ['q6_k', () => kQuant('q6_k')],
];

describeEngines('uploadQuantized', (make) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await make();
  });
  afterAll(() => engine.dispose());

  it.each(RECORDS)('%s', async (_, makeRecord) => {
    const record = makeRecord();
    const expected = dequantizeLinear(record);
    const weight = uploadQuantized(engine, record, 'w');
    const out = engine.create([N, K], 'f32', 'out');
    engine.dequantize({ weight, out: asMatrix(out) });
    const found = await engine.read(out);
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (let i = 0; i < expected.length; i++) {
      // Three roundings of float32 on numbers as large as a value's parts.
      const off = Math.abs(found[i] - expected[i]);
      expect(off <= 2 ** -21 * largest, `element ${i}: ${found[i]} instead of ${expected[i]}`).toBe(true);
    }
    const x = Float32Array.from({ length: 3 * K }, () => rng.normal());
    const input = engine.upload(x, [3, K], 'f32', 'x');
    const product = engine.create([3, N], 'f32', 'y');
    engine.linear({ x: asMatrix(input), weight, out: asMatrix(product) });
    const y = await engine.read(product);
    let noise = 0;
    let power = 0;
    for (let t = 0; t < 3; t++)
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += x[t * K + k] * expected[n * K + k];
        noise += (y[t * N + n] - sum) ** 2;
        power += sum * sum;
      }
    expect(noise / power).toBeLessThan(1e-11);
    engine.free(out, input, product, weight.codes, weight.scales, weight.zeros, weight.groupOf);
  });
});
