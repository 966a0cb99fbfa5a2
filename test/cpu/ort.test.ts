import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { encodeGemmModel } from '../../src/platform/node/cpu/onnx-gemm-model.js';
import { openCpuEngine } from '../../src/platform/node/cpu/open.js';
import { loadOrtMatrixLibrary } from '../../src/platform/node/cpu/ort-matrix-library.js';
import { slowLibrary } from './engines.js';

const library = await loadOrtMatrixLibrary({ threads: 2 });
if (library === undefined && process.env.REQUIRE_MATRIX_LIBRARY === '1')
  throw new Error('REQUIRE_MATRIX_LIBRARY=1, but onnxruntime-node is not installed');

// Plan: the hand-made model loads in onnxruntime and multiplies in every form, also with operands that start inside
// larger arrays; without the optional package these tests are skipped visibly.
describe.skipIf(library === undefined)('onnxruntime as matrix library', () => {
  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])('transA %s, transB %s', async (transA, transB) => {
    if (library === undefined) return;
    const rng = createRng(5);
    const [m, k, n] = [7, 130, 33];
    const inside = (count: number) =>
      Float32Array.from({ length: count + 9 }, () => rng.next() - 0.5).subarray(3, 3 + count);
    const product = { a: inside(m * k), b: inside(k * n), c: inside(m * n), m, k, n, transA, transB };
    const around = new Float32Array(product.c.buffer).slice();
    const wanted = { ...product, c: new Float32Array(m * n) };
    await slowLibrary().multiply(wanted);
    await library.multiply(product);
    product.c.forEach((value, i) => expect(Math.abs(value - wanted.c[i])).toBeLessThan(1e-5));
    const after = new Float32Array(product.c.buffer);
    expect(after.slice(0, 3)).toEqual(around.slice(0, 3));
    expect(after.slice(3 + m * n)).toEqual(around.slice(3 + m * n));
  });

  it('names its version', () => {
    expect(library?.name).toMatch(/^onnxruntime \d+\.\d+/);
  });

  it('gives the same bits for one thread and two', async () => {
    const one = await loadOrtMatrixLibrary({ threads: 1 });
    const rng = createRng(6);
    const data = Float32Array.from({ length: 200 * 300 }, () => rng.next() - 0.5);
    const multiply = async (with_: typeof one) => {
      const c = new Float32Array(200 * 200);
      await with_?.multiply({ a: data, b: data, c, m: 200, k: 300, n: 200, transA: false, transB: true });
      return c;
    };
    expect(await multiply(one)).toEqual(await multiply(library));
    await one?.dispose();
  });
});

describe('the model bytes', () => {
  it('are small, differ in the flags only, and start with the IR version', () => {
    const plain = encodeGemmModel({ transA: false, transB: false });
    const flipped = encodeGemmModel({ transA: true, transB: false });
    expect(plain.length).toBeLessThan(200);
    expect([plain[0], plain[1]]).toEqual([8, 8]);
    expect(plain.filter((byte, i) => byte !== flipped[i])).toHaveLength(1);
  });
});

describe('openCpuEngine', () => {
  it('opens both precisions, with worker threads only where asked for more than one thread', async () => {
    for (const precision of ['f32', 'f64'] as const) {
      const engine = await openCpuEngine({ precision, threads: 1, budgetBytes: 1e6 });
      expect(engine.info).toMatchObject({ engine: 'cpu', precision, software: false, features: [] });
      expect(engine.info.adapter).toMatch(/\(\d+ cores\)$/);
      expect(engine.memory().budgetBytes).toBe(1e6);
      if (precision === 'f64') expect(engine.info.matrixLibrary).toBe('plain loops');
      const x = engine.upload(new Float32Array(80 * 80).fill(0.5), [80, 80], 'f32', 'x');
      const c = engine.create([80, 80], 'f32', 'c');
      engine.gemm({ a: asMatrix(x), b: asMatrix(x), c: asMatrix(c) });
      expect(new Set(await engine.read(c))).toEqual(new Set([20]));
      await engine.dispose();
    }
    const threaded = await openCpuEngine({ threads: 3 });
    expect(threaded.info.features).toEqual(['2 row workers']);
    await threaded.dispose();
  });
});
