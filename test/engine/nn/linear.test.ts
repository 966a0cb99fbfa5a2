import { afterAll, beforeAll, describe, it } from 'vitest';
import { f32ToBf16, f32ToF16 } from '../../../src/core/dtype.js';
import { CODEBOOKS } from '../../../src/core/codebooks.js';
import { createRng } from '../../../src/core/rng.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { LinearWeight } from '../../../src/engine/nn.js';
import type { Bits } from '../../../src/engine/quant.js';
import { expectMatch } from '../../helpers/compare.js';
import { describeEngines, openOracle } from '../../helpers/engines.js';
import { Guarded, PLACES, randomReals, type Place } from '../../helpers/guarded.js';

type DenseType = 'f32' | 'f16' | 'bf16';

/** The matrix product itself gave an NMSE of 1.4e-14 at K = 40 and 9.8e-14 at K = 300 on lavapipe. */
const NMSE = 1e-12;

function encode(values: Float32Array, dtype: DenseType): Float32Array | Uint16Array {
  if (dtype === 'f32') return values;
  return Uint16Array.from(values, dtype === 'f16' ? f32ToF16 : f32ToBf16);
}

describeEngines('linear', (make) => {
  let engine: Engine;
  let oracle: Engine;
  beforeAll(async () => {
    [engine, oracle] = [await make(), await openOracle()];
  });
  afterAll(() => Promise.all([engine.dispose(), oracle.dispose()]));

  const run = async (
    target: Engine,
    shape: { rows: number; n: number; k: number },
    place: Place,
    weight: (target: Engine) => LinearWeight,
    biasType?: DenseType,
  ): Promise<Float64Array> => {
    const { rows, n, k } = shape;
    const guarded = new Guarded(target);
    const x = guarded.put(randomReals(rows * k, 1), rows, k, { place });
    const out = guarded.blank(rows, n, { place });
    const bias =
      biasType === undefined
        ? {}
        : { bias: target.upload(encode(randomReals(n, 3), biasType), [n], biasType, 'bias') };
    target.linear({ x, weight: weight(target), out, ...bias });
    const result = await guarded.read(out);
    guarded.free();
    return result;
  };

  const check = async (
    shape: { rows: number; n: number; k: number },
    place: Place,
    weight: (target: Engine) => LinearWeight,
    biasType?: DenseType,
  ): Promise<void> => {
    const actual = await run(engine, shape, place, weight, biasType);
    expectMatch(actual, await run(oracle, shape, place, weight, biasType), { nmse: NMSE }, place);
  };

  describe.each(['f32', 'f16', 'bf16'] as const)('%s weight', (dtype) => {
    const dense =
      (n: number, k: number) =>
      (target: Engine): LinearWeight => ({
        kind: 'dense',
        tensor: target.upload(encode(randomReals(n * k, 2), dtype), [n, k], dtype, 'weight'),
      });

    it.each([
      [1, 1, 1],
      [5, 33, 7],
      [33, 31, 64],
      [2, 65, 130],
      [40, 4, 33],
    ])('x [%i, K] to [%i] with K = %i', async (rows, n, k) => {
      for (const place of PLACES) await check({ rows, n, k }, place, dense(n, k));
    });

    it('adds a bias of any dtype', async () => {
      for (const biasType of ['f32', 'f16', 'bf16'] as const)
        await check({ rows: 6, n: 35, k: 12 }, 'tight', dense(35, 12), biasType);
    });
  });

  describe.each([2, 3, 4, 5, 6, 8] as const)('%i-bit codes', (bits: Bits) => {
    const affine =
      (n: number, k: number, groups: number, order: 'blocks' | 'scattered') =>
      (target: Engine): LinearWeight => {
        const rng = createRng(7);
        const words = Uint32Array.from({ length: (n * k * bits) / 32 }, () => rng.int(2 ** 32));
        const groupOf = Uint32Array.from({ length: k }, (_, i) =>
          order === 'blocks' ? Math.floor((i * groups) / k) : rng.int(groups),
        );
        const scales = Float32Array.from({ length: n * groups }, () => 2 ** -rng.int(4));
        const zeros = Float32Array.from({ length: n * groups }, () => rng.int(2 ** bits));
        return {
          kind: 'affine',
          bits,
          outFeatures: n,
          inFeatures: k,
          codes: target.upload(words, [n, (k * bits) / 32], 'u32', 'codes'),
          scales: target.upload(scales, [n, groups], 'f32', 'scales'),
          zeros: target.upload(zeros, [n, groups], 'f32', 'zeros'),
          groupOf: target.upload(groupOf, [k], 'u32', 'groups'),
        };
      };

    it('with blocks of columns and with a scattered order', async () => {
      for (const order of ['blocks', 'scattered'] as const) {
        await check({ rows: 5, n: 35, k: 32 }, 'tight', affine(35, 32, 1, order));
        await check({ rows: 33, n: 37, k: 96 }, 'fours', affine(37, 96, 3, order));
        // More text variants for one width only: each takes a software adapter a second to compile.
        if (bits !== 4) continue;
        await check({ rows: 33, n: 37, k: 96 }, 'odd', affine(37, 96, 3, order));
        await check({ rows: 3, n: 3, k: 64 }, 'fours', affine(3, 64, 4, order), 'bf16');
      }
    });
  });

  describe.each(['nf4', 'fp4'] as const)('%s codes', (codebook) => {
    const coded =
      (n: number, k: number, blockSize: number) =>
      (target: Engine): LinearWeight => {
        const rng = createRng(11);
        const count = n * k;
        const codes = Uint8Array.from({ length: Math.ceil(count / 2) }, () => rng.int(256));
        // Powers of two keep the oracle's unrounded products equal to float32's.
        const absmax = Float32Array.from({ length: Math.ceil(count / blockSize) }, () => 2 ** -rng.int(4));
        return {
          kind: 'codebook',
          outFeatures: n,
          inFeatures: k,
          blockSize,
          codes: target.upload(codes, [codes.length], 'u8', 'codes'),
          absmax: target.upload(absmax, [absmax.length], 'f32', 'absmax'),
          table: target.upload(CODEBOOKS[codebook], [16], 'f32', 'table'),
        };
      };

    it('with blocks through row ends, K of any length', async () => {
      await check({ rows: 5, n: 35, k: 32 }, 'tight', coded(35, 32, 64));
      await check({ rows: 33, n: 37, k: 97 }, 'fours', coded(37, 97, 32));
      if (codebook === 'fp4') return;
      await check({ rows: 33, n: 37, k: 90 }, 'odd', coded(37, 90, 128));
      await check({ rows: 1, n: 3, k: 1 }, 'tight', coded(3, 1, 64));
      await check({ rows: 70, n: 68, k: 100 }, 'fours', coded(68, 100, 4096), 'bf16');
    });
  });
});
