import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { f32ToF16 } from '../../../src/core/dtype.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { DeviceFacts } from '../../../src/webgpu/kernel-context.js';
import {
  chooseGemm,
  GEMM_VARIANTS,
  type GemmVariant,
} from '../../../src/webgpu/kernels/linalg/choose-gemm.js';
import { gemmLaunch, launchGemm } from '../../../src/webgpu/kernels/linalg/gemm.js';
import type { WebGpuEngine } from '../../../src/webgpu/webgpu-engine.js';
import { expectMatch } from '../../helpers/compare.js';
import { describeGpu, openOracle, openTestGpu } from '../../helpers/engines.js';
import { Guarded, randomReals } from '../../helpers/guarded.js';

/** A large GPU that offers everything. */
const GPU: DeviceFacts = {
  adapter: 'a GPU',
  software: false,
  subgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  shaderF16: true,
  maxBindingBytes: 2 ** 31,
  maxWorkgroupStorageBytes: 32768,
  maxWorkgroupsPerDimension: 65535,
  maxInvocationsPerWorkgroup: 1024,
};

describe('chooseGemm', () => {
  it.each([
    [2048, 2048, 2048, 'linalg/gemm-tile128'],
    [512, 512, 512, 'linalg/gemm-tile64'],
    [8, 4096, 4096, 'linalg/gemm-direct'],
    [4096, 4096, 8, 'linalg/gemm-direct'],
  ])('%i × %i × %i on a GPU goes to %s', (m, n, k, shader) => {
    expect(chooseGemm(m, n, k, GPU).shader).toBe(shader);
  });

  it('goes direct on software adapters and where a tile does not fit', () => {
    expect(chooseGemm(2048, 2048, 2048, { ...GPU, software: true }).shader).toBe('linalg/gemm-direct');
    expect(chooseGemm(2048, 2048, 2048, { ...GPU, maxInvocationsPerWorkgroup: 128 }).shader).toBe(
      'linalg/gemm-direct',
    );
  });
});

describeGpu('every text of the matrix product', () => {
  let engine: WebGpuEngine;
  let oracle: Engine;
  beforeAll(async () => {
    [engine, oracle] = [await openTestGpu(), await openOracle()];
  });
  afterAll(() => Promise.all([engine.dispose(), oracle.dispose()]));

  const run = async (
    target: Engine,
    [m, n, k]: readonly [number, number, number],
    layout: { readonly transA?: boolean; readonly transB?: boolean },
    place: 'fours' | 'odd',
    variant?: GemmVariant,
  ): Promise<Float64Array> => {
    const guarded = new Guarded(target);
    const { transA = false, transB = false } = layout;
    const a = guarded.put(randomReals(m * k, 1), transA ? k : m, transA ? m : k, { place });
    const b = guarded.put(randomReals(n * k, 2), transB ? n : k, transB ? k : n, { place });
    const c = guarded.blank(m, n, { place: 'odd' });
    const options = { a, b, c, transA, transB, alpha: 0.5 };
    if (variant === undefined) target.gemm(options);
    else launchGemm(engine.context, gemmLaunch(options), variant);
    const result = await guarded.read(c);
    guarded.free();
    return result;
  };

  const sizes = [
    [1, 1, 1],
    [63, 65, 31],
    [64, 64, 32],
    [127, 129, 33],
    [128, 128, 16],
    [131, 140, 50],
  ] as const;

  describe.each(GEMM_VARIANTS.slice(1))('$shader', (variant) => {
    it.each([{}, { transA: true }, { transB: true }])('%j', async (layout) => {
      for (const size of sizes)
        for (const place of layout.transB === true && variant.tile === 64
          ? (['fours', 'odd'] as const)
          : (['fours'] as const)) {
          const actual = await run(engine, size, layout, place, variant);
          // As for the direct text: 1.4e-14 at K = 40.
          expectMatch(
            actual,
            await run(oracle, size, layout, place),
            { nmse: 1e-12 },
            `${size.join()} ${place}`,
          );
        }
    });

    it('16-bit weights and codes', async () => {
      const [m, n, k] = [70, 66, 64];
      const half = Uint16Array.from(randomReals(n * k, 5), f32ToF16);
      const words = Uint32Array.from({ length: (n * k) / 8 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0);
      const grid = [
        randomReals(n * 2, 6),
        Float32Array.from({ length: n * 2 }, (_, i) => i % 16),
        Uint32Array.from({ length: k }, (_, i) => (i * 7) % 2),
      ] as const;
      const build = (target: Engine, guarded: Guarded) => ({
        x: guarded.put(randomReals(m * k, 4), m, k, { place: 'odd' }),
        dense: target.upload(half, [n, k], 'f16', 'weight'),
        codes: target.upload(words, [n, k / 8], 'u32', 'codes'),
        scales: target.upload(grid[0], [n, 2], 'f32', 'scales'),
        zeros: target.upload(grid[1], [n, 2], 'f32', 'zeros'),
        groupOf: target.upload(grid[2], [k], 'u32', 'groups'),
        outs: [guarded.blank(m, n), guarded.blank(m, n)] as const,
      });
      const guarded = new Guarded(engine);
      const judge = new Guarded(oracle);
      const mine = build(engine, guarded);
      const theirs = build(oracle, judge);
      const common = { m, n, k, a: mine.x, transA: false, alpha: 1, beta: 0 } as const;
      launchGemm(
        engine.context,
        {
          ...common,
          c: mine.outs[0],
          b: { flags: ['B_HALF', 'B_PAIRS'], tensor: mine.dense, offset: 0, stride: k },
        },
        variant,
      );
      launchGemm(
        engine.context,
        {
          ...common,
          c: mine.outs[1],
          b: {
            flags: ['B_CODES'],
            constants: { BITS: 4 },
            tensor: mine.codes,
            offset: 0,
            stride: k / 8,
            grid: [mine.scales, mine.zeros, mine.groupOf],
            groups: 2,
          },
        },
        variant,
      );
      const affine = { bits: 4, outFeatures: n, inFeatures: k } as const;
      oracle.linear({ x: theirs.x, weight: { kind: 'dense', tensor: theirs.dense }, out: theirs.outs[0] });
      const { codes, scales, zeros, groupOf } = theirs;
      const weight = { kind: 'affine', ...affine, codes, scales, zeros, groupOf } as const;
      oracle.linear({ x: theirs.x, weight, out: theirs.outs[1] });
      for (const i of [0, 1] as const)
        expectMatch(await guarded.read(mine.outs[i]), await judge.read(theirs.outs[i]), { nmse: 1e-12 });
    });
  });
});
