import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import type { Triangle } from '../../../src/engine/linalg.js';
import { expectMatch } from '../../helpers/compare.js';
import { describeEngines, openOracle } from '../../helpers/engines.js';
import { Guarded, PLACES, randomReals, type Place } from '../../helpers/guarded.js';

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly places?: readonly [a: Place, b: Place, c: Place];
  readonly alpha?: number;
  readonly beta?: 0 | 1;
  readonly triangle?: Triangle;
}

const LAYOUTS = [{}, { transA: true }, { transB: true }] as const;

/**
 * |Δ| ≤ 4·√K·2⁻²⁴·Σ|a·b|, element by element (the statistical bound of dot products). Largest seen, in units of √K·2⁻²⁴·Σ|a·b|:
 * lavapipe 1.03 at K = 7, 0.53 at 34, 0.18 at 300; cpu float32 0.35 at K = 7.
 */
function bound(k: number): number {
  return 4 * Math.sqrt(k) * 2 ** -24;
}

async function product(engine: Engine, test: Case): Promise<{ c: Float64Array; scale: Float64Array }> {
  const { m, n, k, transA = false, transB = false, places = ['tight', 'tight', 'tight'], beta = 0 } = test;
  const guarded = new Guarded(engine);
  const aData = randomReals(m * k, 1);
  const bData = randomReals(k * n, 2);
  const cData = randomReals(m * n, 3);
  const options = {
    alpha: test.alpha ?? 1,
    ...(test.triangle === undefined ? {} : { triangle: test.triangle }),
  };
  const run = async (a: Float32Array, b: Float32Array, c: Float32Array): Promise<Float64Array> => {
    const av = transA
      ? guarded.put(a, k, m, { place: places[0] })
      : guarded.put(a, m, k, { place: places[0] });
    const bv = transB
      ? guarded.put(b, n, k, { place: places[1] })
      : guarded.put(b, k, n, { place: places[1] });
    const cv =
      beta === 1 || test.triangle !== undefined
        ? guarded.put(c, m, n, { place: places[2] })
        : guarded.blank(m, n, { place: places[2] });
    engine.gemm({ a: av, b: bv, c: cv, transA, transB, beta, ...options });
    return guarded.read(cv);
  };
  const c = await run(aData, bData, cData);
  const scale =
    engine.info.precision === 'f64'
      ? await run(aData.map(Math.abs), bData.map(Math.abs), cData.map(Math.abs))
      : c;
  guarded.free();
  return { c, scale };
}

describeEngines('gemm', (make) => {
  let engine: Engine;
  let oracle: Engine;
  beforeAll(async () => {
    [engine, oracle] = [await make(), await openOracle()];
  });
  afterAll(() => Promise.all([engine.dispose(), oracle.dispose()]));

  const check = async (test: Case): Promise<void> => {
    const [actual, expected] = [await product(engine, test), await product(oracle, test)];
    const most = bound(test.k) * Math.abs(test.alpha ?? 1);
    const scale = expected.scale.map((value) => Math.abs(value) + 1e-30);
    expectMatch(actual.c, expected.c, { scaled: { scale, most } }, JSON.stringify(test));
  };

  describe.each(LAYOUTS)('%j', (layout) => {
    const sizes: [number, number, number][] = [
      [1, 1, 1],
      [1, 37, 19],
      [31, 33, 5],
      [32, 32, 32],
      [33, 31, 7],
      [64, 65, 34],
      [7, 130, 67],
      [129, 66, 40],
    ];
    it.each(sizes)('%i × %i × %i, every place', async (m, n, k) => {
      for (const place of PLACES) await check({ m, n, k, ...layout, places: [place, place, place] });
    });

    it('mixed places, alpha and beta', async () => {
      await check({ m: 45, n: 50, k: 23, ...layout, places: ['fours', 'odd', 'odd'], alpha: -0.5, beta: 1 });
      await check({ m: 45, n: 50, k: 23, ...layout, places: ['odd', 'fours', 'fours'], alpha: 2, beta: 1 });
    });

    it.each([
      { part: 'upper', rowOffset: 0 },
      { part: 'lower', rowOffset: 0 },
      { part: 'upper', rowOffset: 40 },
      { part: 'lower', rowOffset: -37 },
      { part: 'lower', rowOffset: 70 },
    ] as const)('writes only the triangle %j', async (triangle) => {
      await check({ m: 70, n: 70, k: 12, ...layout, triangle, places: ['tight', 'tight', 'odd'] });
      await check({ m: 33, n: 71, k: 9, ...layout, triangle, beta: 1 });
    });

    it('reads both operands from the tensor of c', async () => {
      const run = async (target: Engine): Promise<Float64Array> => {
        const [m, n, k] = [34, 21, 10];
        const tensor = target.upload(randomReals(60 * 60, 9), [60, 60], 'f32', 'panel');
        const view = (offset: number, rows: number, cols: number) => ({
          tensor,
          rows,
          cols,
          offset,
          stride: 60,
        });
        const [transA, transB] = ['transA' in layout, 'transB' in layout];
        target.gemm({
          a: transA ? view(0, k, m) : view(0, m, k),
          b: transB ? view(38, n, k) : view(38, k, n),
          c: view(25 * 60 + 35, m, n),
          transA,
          transB,
          beta: 1,
        });
        const all = Float64Array.from(await target.read(tensor));
        target.free(tensor);
        return all;
      };
      expectMatch(await run(engine), await run(oracle), { nmse: 1e-13 });
    });
  });

  it('gives the same bits twice', async () => {
    const test: Case = { m: 65, n: 40, k: 33, transB: true };
    expect((await product(engine, test)).c).toEqual((await product(engine, test)).c);
  });

  it('writes alpha·0 + beta·c for K = 0', async () => {
    const guarded = new Guarded(engine);
    const c = guarded.put([1, 2, 3, 4], 2, 2);
    const none = { tensor: c.tensor, rows: 2, cols: 0, offset: 0, stride: 0 };
    const other = guarded.put([0], 1, 1);
    engine.gemm({
      a: { ...none, tensor: other.tensor },
      b: { ...none, tensor: other.tensor },
      c,
      transB: true,
    });
    expect([...(await guarded.read(c))]).toEqual([0, 0, 0, 0]);
    guarded.free();
  });
});
