import { afterAll, beforeAll, describe } from 'vitest';
import type { Engine } from '../../src/engine/engine.js';
import type { DeviceFacts, KernelContext } from '../../src/webgpu/kernel-context.js';
import { foldWorkgroups } from '../../src/webgpu/gpu-context.js';
import { createNnKernels } from '../../src/webgpu/kernels/nn/index.js';
import { createQuantKernels } from '../../src/webgpu/kernels/quant/index.js';
import type { WebGpuEngine } from '../../src/webgpu/webgpu-engine.js';
import { describeGpu, openOracle, openTestGpu } from '../helpers/engines.js';

/** The engine under test and the float64 cpu engine that judges it, open while the tests of one suite run. */
export interface Pair {
  readonly engine: Engine;
  readonly oracle: Engine;
}

/** Facts that make the kernels choose other variants than the adapter for tests would. */
const VARIANTS: readonly { readonly name: string; readonly facts: Partial<DeviceFacts> }[] = [
  { name: 'as it is', facts: {} },
  // Seven workgroups a row of the grid fold even small dispatches, as 65,535 do with large ones.
  { name: 'as hardware, grids folded at 7', facts: { software: false, maxWorkgroupsPerDimension: 7 } },
  { name: 'as hardware without subgroups', facts: { software: false, subgroups: false } },
];

/**
 * Runs `body` on the cpu engine in float32 and on the webgpu engine in each variant. `body` gets a function that
 * returns the open pair, to be called inside tests.
 */
export function describeKernels(title: string, body: (pair: () => Pair) => void): void {
  describe(`${title} · cpu f32`, () =>
    body(
      openPair(async () => {
        const { createCpuEngine } = await import('../../src/cpu/engine.js');
        return createCpuEngine({ precision: 'f32' });
      }),
    ));
  describeGpu(title, () => {
    for (const { name, facts } of VARIANTS)
      describe(name, () => body(openPair(async () => withFacts(await openTestGpu(), facts))));
  });
}

function openPair(open: () => Promise<Engine>): () => Pair {
  let pair: Pair | undefined;
  beforeAll(async () => {
    pair = { engine: await open(), oracle: await openOracle() };
  });
  afterAll(async () => {
    await pair?.engine.dispose();
    await pair?.oracle.dispose();
  });
  return () => {
    if (pair === undefined) throw new Error('the engines open before the tests run');
    return pair;
  };
}

/** The same device with kernels that were told other facts and whose grids fold at the told limit. */
function withFacts(engine: WebGpuEngine, changes: Partial<DeviceFacts>): Engine {
  const { context } = engine;
  const facts = { ...context.facts, ...changes };
  facts.subgroups &&= context.facts.subgroups;
  const told: KernelContext = {
    facts,
    dispatch: (options) => {
      const { workgroups } = options;
      const grid =
        typeof workgroups === 'number'
          ? foldWorkgroups(workgroups, facts.maxWorkgroupsPerDimension)
          : workgroups;
      context.dispatch({ ...options, workgroups: grid });
    },
    scratch: (shape, label) => context.scratch(shape, label),
    release: (tensor) => context.release(tensor),
  };
  return { ...engine, ...createNnKernels(told), ...createQuantKernels(told) };
}
